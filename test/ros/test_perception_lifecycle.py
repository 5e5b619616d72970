"""Starting, driving, killing and replacing the node; each test has processes of its own."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.time import Time
from robot import NODE, PATIENCE, NodeProcess, Robot, environment
from rosgraph_msgs.msg import Clock

from impatient_ros.perception.frame_record import Outcome

ERROR, OK = DiagnosticStatus.ERROR, DiagnosticStatus.OK
pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]
# Prints the exit code and how many threads that receive for a participant are left.
PROGRAM = """
import os
from impatient_ros.ros.perception_node import main

code = main()
names = [open(f'/proc/self/task/{thread}/comm').read() for thread in os.listdir('/proc/self/task')]
print(code, sum(name.startswith(('dds.udp', 'dds.shm.7', 'dds.ev')) for name in names))
"""
BAD_IMAGES = Path(__file__).parents[3] / 'shared' / 'data' / 'bad_images.zip'


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.close()


class TestLifecycle:
    def test_driven_from_outside_it_can_be_reloaded_again_and_again(self, robot, tiny_model, tmp_path):
        with NodeProcess(
            tmp_path / 'log', 'autostart:=false', f'model:={tiny_model}', 'budget.fixed:=20.0'
        ) as node:
            robot.wait_until(lambda: robot.node.count_publishers('/diagnostics') > 0)
            assert robot.state() == 'unconfigured'
            for _ in range(2):
                assert robot.transition('configure')
                assert robot.state() == 'inactive'
                for _ in range(2):
                    robot.labels['camera'].clear()
                    assert robot.transition('activate')
                    robot.wait_for_node()
                    assert robot.ask().outcome is Outcome.answered
                    assert robot.transition('deactivate')
                assert robot.transition('cleanup')
                assert robot.state() == 'unconfigured'
            assert robot.set(camera_names=['left', 'right']).successful
            assert robot.transition('configure')
            assert robot.transition('activate')
            robot.wait_until(lambda: robot.node.count_subscribers('/right/image_raw') > 0)
            assert node.stop() == 0, node.log

    def test_a_model_that_cannot_be_loaded_is_named_and_can_be_replaced(
        self, robot, tiny_model, tmp_path, monkeypatch
    ):
        monkeypatch.setenv('HOME', str(tiny_model.parent))
        broken = tmp_path / 'broken.safetensors'
        broken.write_bytes(b'not a model')
        with NodeProcess(tmp_path / 'log', f'model:={broken}', 'budget.fixed:=20.0') as node:
            robot.wait_until(lambda: 'not started' in node.log)
            assert str(broken) in node.log
            assert 'Traceback' not in node.log
            assert robot.state() == 'unconfigured'
            robot.wait_for(lambda: robot.diagnosis_of('model') and robot.diagnosis_of('model').level == ERROR)
            assert f'cannot configure: {broken}' in robot.diagnosis_of('model').message
            assert robot.set(model=f'~/{tiny_model.name}').successful
            assert robot.transition('configure')
            assert robot.transition('activate')
            robot.wait_for_node()
            assert robot.ask().outcome is Outcome.answered
            robot.wait_for(lambda: robot.diagnosis_of('model').level == OK)

    def test_labels_that_the_model_does_not_have_are_named_and_those_that_it_has_compete(
        self, robot, tiny_model, tmp_path
    ):
        with NodeProcess(
            tmp_path / 'log', f'model:={tiny_model}', 'labels:=[Cat, hause]', 'budget.fixed:=20.0'
        ) as node:
            robot.wait_until(lambda: 'not started' in node.log)
            assert "no label 'Cat' (did you mean cat?)" in node.log
            assert "no label 'hause' (did you mean house?)" in node.log
            assert 'Traceback' not in node.log
            assert robot.set(labels=['house', 'cat']).successful
            assert robot.transition('configure')
            refused = robot.set(labels=['dog'])
            assert not refused.successful
            assert 'while a model is loaded' in refused.reason
            assert robot.transition('activate')
            robot.wait_for_node()
            [info] = robot.labels['camera'][-1:]
            assert {each.class_name for each in info.class_map} == {'cat', 'house'}
            assert robot.ask().outcome is Outcome.answered
            results = robot.answers['camera'][-1].results
            assert {result.class_id for result in results} == {'cat', 'house'}
            assert sum(result.score for result in results) == pytest.approx(1.0)

    @pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
    def test_signals_end_it_with_code_zero_also_while_frames_arrive(
        self, robot, tiny_model, tmp_path, number
    ):
        with NodeProcess(tmp_path / 'log', f'model:={tiny_model}') as node:
            robot.wait_for_node()
            for _ in range(3):
                robot.send()
            assert node.stop(number) == 0, node.log
            assert 'Traceback' not in node.log

    def test_its_part_of_the_middleware_has_ended_before_the_interpreter_ends(
        self, robot, tiny_model, tmp_path
    ):
        (tmp_path / 'program.py').write_text(PROGRAM)
        command = [sys.executable, tmp_path / 'program.py', '--ros-args', '-p', f'model:={tiny_model}']
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            robot.wait_for_node()
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=PATIENCE)
        assert out.split() == ['0', '0']
        command[-1] = 'budget.fixed:=-1.0'
        refused = subprocess.run(
            command, env=environment(), stdout=subprocess.PIPE, text=True, timeout=PATIENCE
        )
        assert refused.stdout.split() == ['2', '0']

    def test_after_a_kill_a_new_node_takes_over(self, robot, tiny_model, tmp_path):
        for attempt in ('first', 'second'):
            robot.labels['camera'].clear()
            node = NodeProcess(tmp_path / attempt, f'model:={tiny_model}', 'budget.fixed:=20.0')
            with node:
                robot.wait_for_node()
                assert robot.ask().outcome is Outcome.answered
                assert node.stop(signal.SIGKILL) == -signal.SIGKILL
            robot.wait_until(lambda: robot.node.count_publishers(f'{NODE}/camera/frame_status') == 0)

    def test_parameters_that_cannot_be_end_the_start_with_a_reason(self, tmp_path):
        with NodeProcess(tmp_path / 'log', 'budget.fixed:=-1.0') as node:
            assert node.process.wait(60) == 2
            assert 'budget.fixed' in node.log
            assert 'Traceback' not in node.log


class TestTwoCamerasCompressed:
    def test_pictures_of_two_cameras_on_one_model_and_every_broken_file(self, tiny_model, tmp_path):
        robot = Robot(('left', 'right'), transport='compressed')
        parameters = [f'model:={tiny_model}', 'budget.fixed:=20.0', 'camera_names:=[left, right]']
        parameters += [f'cameras.{camera}.transport:=compressed' for camera in ('left', 'right')]
        parameters.append('cameras.right.budget.fixed:=40.0')
        ok, encoded = cv2.imencode('.jpg', np.full((60, 80, 3), 90, np.uint8))
        assert ok
        good = {'format': 'rgb8; jpeg compressed bgr8', 'data': encoded.tobytes()}
        try:
            with NodeProcess(tmp_path / 'log', *parameters) as node:
                robot.wait_for_node('left')
                robot.wait_for_node('right')
                left, right = robot.ask('left', **good), robot.ask('right', **good)
                assert left.outcome is right.outcome is Outcome.answered
                assert left.budget <= 20 < right.budget <= 40
                for broken in self._broken(good['data']):
                    record = robot.ask('left', format='jpeg', data=broken)
                    assert record.outcome in (Outcome.dropped, Outcome.answered)
                    assert robot.ask('left', **good).outcome is Outcome.answered
                assert node.process.poll() is None, node.log
                assert 'Traceback' not in node.log
        finally:
            robot.close()

    @staticmethod
    def _broken(good):
        yield from (b'', b'\xff\xd8', good[: len(good) // 2], b'P6 garbage' * 100, good[:20] + b'\0' * 500)
        if BAD_IMAGES.exists():
            # All of them have their test in test_compressed.py; these go through the node's whole way.
            with zipfile.ZipFile(BAD_IMAGES) as archive:
                names = [name for name in archive.namelist() if not name.endswith('/')]
                yield from (archive.read(name) for name in names[::40])


class TestSimulatedTime:
    def test_slow_time_and_a_jump_back_leave_no_frame_stuck(self, robot, tiny_model, tmp_path):
        clock = robot.node.create_publisher(Clock, '/clock', 10)

        def tick(instant):
            clock.publish(Clock(clock=Time(nanoseconds=instant).to_msg()))

        start = 1000 * 10**9
        with NodeProcess(
            tmp_path / 'log', f'model:={tiny_model}', 'budget.fixed:=20.0', 'use_sim_time:=true'
        ):
            robot.wait_for_node()
            robot.wait_until(lambda: clock.get_subscription_count() > 0)
            for now in (start, start + 10**9, start // 2, start // 2 + 10**9):
                for _ in range(3):
                    tick(now)
                record = self._ask(robot, now, lambda now=now: tick(now))
                assert record.outcome is Outcome.answered
                assert record.budget == pytest.approx(20.0), 'simulated time stands still meanwhile'
            with self._half_speed(tick, start // 2 + 2 * 10**9) as now:
                for _ in range(5):
                    record = self._ask(robot, now(), lambda: None)
                    assert record.outcome is Outcome.answered
                    assert 15 < record.budget <= 20.01, 'the stamp may be a tick ahead'
        robot.node.destroy_publisher(clock)

    @staticmethod
    @contextlib.contextmanager
    def _half_speed(tick, start):
        """The time goes half as fast as it does; gives a function that tells it."""
        began, ended = time.monotonic(), threading.Event()

        def now():
            return start + round((time.monotonic() - began) * 0.5e9)

        def run():
            while not ended.wait(0.005):
                tick(now())

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield now
        finally:
            ended.set()
            thread.join()

    @staticmethod
    def _ask(robot, stamp, again):
        for attempt in range(10):
            again()
            robot.send(stamp=stamp + attempt)
            try:
                record = robot.record_of(stamp + attempt, patience=5)
            except AssertionError:
                continue
            if record.fault is None:
                return record
        raise AssertionError('no frame was taken at that time')


def test_the_shipped_parameter_file_runs_without_launch(robot, tiny_model, tmp_path):
    file = Path(__file__).parents[2] / 'config' / 'perception.yaml'
    with NodeProcess(
        tmp_path / 'log', f'model:={json.dumps(str(tiny_model))}', arguments=('--params-file', str(file))
    ) as node:
        robot.wait_for_node()
        assert robot.get('budget.fixed') == 0.1
        assert node.stop() == 0
