"""What the node says of its surroundings in /diagnostics: topics as they are in full, and the clock."""

import time

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.time import Time
from robot import NodeProcess, Robot
from rosgraph_msgs.msg import Clock

from impatient_ros.perception.frame_record import ARRIVED_LATE, Outcome
from impatient_ros.ros.messages import nanoseconds

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]
MS = 1_000_000


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.close()


def test_a_camera_is_told_with_the_topic_that_it_has_after_remapping(robot, tmp_path):
    arguments = ('-r', '/camera/image_raw:=/front/image')
    with NodeProcess(tmp_path / 'log', arguments=arguments) as node:
        robot.wait_for(lambda: robot.values_of('camera').get('topic') == '/front/image')
        robot.wait_for(lambda: 'no frame on /front/image ' in told(robot, 'camera'))
        assert 'active: camera on /front/image' in node.log


def test_a_frame_that_arrives_after_its_deadline_is_called_that(robot, tiny_model, tmp_path):
    with NodeProcess(
        tmp_path / 'log', f'model:={tiny_model}', 'budget.fixed:=0.1', 'budget.stale_after:=60.0'
    ):
        robot.wait_for_node()
        stamps = [robot.send(stamp=robot.now() - 500 * MS) for _ in range(3)]
        record = robot.record_of(stamps[-1])
        assert (record.outcome, record.reason) == (Outcome.infeasible, ARRIVED_LATE)
        robot.wait_for(lambda: robot.values_of('camera').get('arrived_late', '0') != '0')


def test_simulated_time_that_does_not_come_is_an_error_and_its_steps_are_allowed_for(
    robot, tiny_model, tmp_path
):
    clock = robot.node.create_publisher(Clock, '/clock', 10)
    parameters = (f'model:={tiny_model}', 'budget.fixed:=20.0', 'use_sim_time:=true')
    with NodeProcess(tmp_path / 'log', *parameters):
        robot.wait_for_node()
        robot.wait_for(lambda: 'no /clock has come' in told(robot, 'model'))
        assert robot.diagnosis_of('model').level == DiagnosticStatus.ERROR
        robot.wait_until(lambda: clock.get_subscription_count() > 0)
        now = 1000 * 10**9
        for _ in range(5):  # the node reads only the newest tick, and a busy machine skips some
            for _ in range(20):
                now += 100 * MS
                clock.publish(Clock(clock=Time(nanoseconds=now).to_msg()))
                time.sleep(0.02)  # nothing tells that a tick was read
            robot.wait_for(lambda now=now: knows(robot, now))
            ahead = robot.record_of(robot.send(stamp=now + 90 * MS))
            if ahead.fault is None:
                break
        assert (ahead.outcome, ahead.fault) == (Outcome.answered, None)
        assert robot.record_of(robot.send(stamp=now + 500 * MS)).fault == 'future_stamp'
        robot.wait_for(lambda: '/clock' not in told(robot, 'model'))
        assert robot.values_of('model')['internal_errors'] == '0'


def told(robot, name):
    """The text of a camera or of the model in the latest diagnostics; '' before there is one."""
    status = robot.diagnosis_of(name)
    return '' if status is None else status.message


def knows(robot, instant):
    """Whether the node's clock has come to that instant."""
    return nanoseconds(robot.diagnostics[-1].header.stamp) == instant
