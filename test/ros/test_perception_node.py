"""The node in a process of its own, seen from the outside."""

import threading
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from robot import NODE, NodeProcess, Robot
from std_srvs.srv import Trigger

from impatient_ros.perception.frame_record import Outcome
from impatient_ros.ros.messages import nanoseconds

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]
BAD_IMAGES = Path(__file__).parents[3] / 'shared' / 'data' / 'bad_images.zip'
DEFAULTS = {
    'budget__source': 'fixed',
    'budget__fixed': 20.0,
    'mode': 'adaptive',
    'on_miss': 'silent',
    'publish_mode': 'final',
    'top_k': 5,
    'unknown_below': 0.0,
    'cameras__camera__roi': [],
}


@pytest.fixture(scope='module')
def robot():
    robot = Robot()
    yield robot
    robot.close()


@pytest.fixture(scope='module')
def running(robot, tiny_model, tmp_path_factory):
    """One node for the tests that only send frames and set parameters."""
    log = tmp_path_factory.mktemp('log') / 'node.log'
    with NodeProcess(log, f'model:={tiny_model}', 'budget.fixed:=20.0') as node:
        robot.wait_for_node()
        yield node


@pytest.fixture
def node(running, robot):
    yield running
    assert running.process.poll() is None, running.log
    assert robot.set(**DEFAULTS).successful


class TestAnswers:
    def test_an_answer_carries_the_images_header_and_the_models_labels(self, node, robot):
        record = robot.ask()
        assert record.outcome is Outcome.answered
        answer = robot.answers['camera'][-1]
        assert answer.header.frame_id == 'camera_optical'
        assert nanoseconds(answer.header.stamp) == robot.asked
        assert {r.class_id for r in answer.results} == {'cat', 'dog', 'house'}
        scores = [r.score for r in answer.results]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1.0)
        [info] = robot.labels['camera'][-1:]
        assert [(c.class_id, c.class_name) for c in info.class_map] == [(0, 'cat'), (1, 'dog'), (2, 'house')]

    def test_its_status_says_which_exit_and_how_much_time_was_left(self, node, robot):
        record = robot.ask()
        assert record.exits == 4
        assert record.exit_index == 3, 'with 20 s every exit fits'
        assert record.resolution == record.planned_resolution == 64
        assert record.path == 'exit 4 of 4', 'there is only one resolution'
        assert 10 < record.budget <= 20.0
        assert 0 < record.elapsed < 20
        assert record.slack == pytest.approx(record.budget - record.elapsed, abs=0.1)
        assert robot.level() == DiagnosticStatus.OK

    def test_top_k_limits_the_results(self, node, robot):
        assert robot.set(top_k=1).successful
        robot.ask()
        assert len(robot.answers['camera'][-1].results) == 1

    def test_an_answer_that_is_not_probable_enough_is_unknown(self, node, robot):
        assert robot.set(unknown_below=1.0).successful
        record = robot.ask()
        assert (record.outcome, record.unknown) == (Outcome.answered, True)
        [result] = robot.answer_of(robot.asked).results
        assert result.class_id == 'unknown'
        assert 0 < result.score < 1
        robot.wait_for(lambda: int(robot.values_of('camera').get('unknown_answers', 0)) > 0)
        assert robot.set(unknown_below=0.0).successful
        assert not robot.ask().unknown
        assert 'unknown' not in {each.class_id for each in robot.answer_of(robot.asked).results}

    def test_mode_and_publish_mode_change_live(self, node, robot):
        assert robot.set(mode='interruptible', publish_mode='every').successful
        robot.ask()

        def count():
            return sum(nanoseconds(m.header.stamp) == robot.asked for m in robot.answers['camera'])

        robot.wait_for(lambda: count() == 4)

    def test_the_annotated_picture_is_drawn_for_subscribers(self, node, robot):
        picture = np.full((240, 320, 3), 200, np.uint8)
        unsubscribe = robot.watch_pictures()
        robot.wait_until(lambda: robot.node.count_subscribers(f'{NODE}/camera/annotated') > 0)
        for _ in range(20):
            robot.ask(picture=picture)
            if robot.pictures['camera']:
                break
        robot.wait_for(lambda: robot.pictures['camera'])
        unsubscribe()
        drawn = robot.pictures['camera'][-1]
        assert (drawn.height, drawn.width, drawn.encoding) == (240, 320, 'rgb8')
        assert drawn.header.frame_id == 'camera_optical'
        assert bytes(drawn.data) != picture.tobytes()

    def test_a_region_of_interest_is_honoured_and_must_lie_inside(self, node, robot):
        assert robot.set(cameras__camera__roi=[10, 10, 20, 20]).successful
        assert robot.ask().outcome is Outcome.answered
        assert robot.set(cameras__camera__roi=[0, 0, 1000, 1000]).successful
        record = robot.ask()
        assert (record.outcome, record.reason) == (Outcome.dropped, 'roi')
        refused = robot.set(cameras__camera__roi=[1, 2, 3])
        assert not refused.successful
        assert 'x, y, width, height' in refused.reason


class TestBudgets:
    def test_a_new_budget_counts_from_the_next_frame(self, node, robot):
        assert robot.set(budget__fixed=7.5).successful
        assert 5 < robot.ask().budget <= 7.5
        assert robot.set(budget__fixed=9).successful, 'a whole number is fine'
        assert 7.5 < robot.ask().budget <= 9

    @pytest.mark.parametrize(
        ('name', 'value', 'told'),
        [
            ('budget__fixed', -0.1, 'budget.fixed'),
            ('budget__fixed', float('nan'), 'budget.fixed'),
            ('budget__source', 'clock', 'control_loop'),
            ('mode', 'fast', 'adaptive'),
            ('top_k', 0, 'top_k'),
            ('budget__miss_rate', 2.0, 'budget.miss_rate'),
            ('camera_names', ['other'], 'deactivate'),
            ('model', 'other.safetensors', 'clean up'),
            ('labels', ['cat'], 'clean up'),
            ('fit', 'squash', 'clean up'),
            ('memory_limit', 100.0, 'clean up'),
            ('realtime_priority', 5, 'deactivate'),
            ('realtime_limit', 0.5, 'deactivate'),
            ('cpu_affinity', [0], 'clean up'),
            ('unknown_below', 1.5, 'unknown_below'),
        ],
    )
    def test_what_cannot_be_is_refused_with_a_reason(self, node, robot, name, value, told):
        before = robot.get(name.replace('__', '.'))
        result = robot.set(**{name: value})
        assert not result.successful
        assert told in result.reason
        assert robot.get(name.replace('__', '.')) == before

    def test_a_microsecond_is_infeasible_and_said_so(self, node, robot):
        assert robot.set(budget__fixed=1e-6).successful
        answers = len(robot.answers['camera'])
        record = robot.ask()
        assert record.outcome is Outcome.infeasible
        assert record.exit_index is None
        assert record.reason
        assert len(robot.answers['camera']) == answers
        assert robot.level() == DiagnosticStatus.WARN

    def test_on_miss_empty_publishes_a_classification_without_results(self, node, robot):
        assert robot.set(budget__fixed=1e-6, on_miss='empty').successful
        answers = len(robot.answers['camera'])
        assert robot.ask().outcome is Outcome.infeasible
        robot.wait_for(lambda: len(robot.answers['camera']) > answers)
        assert list(robot.answers['camera'][-1].results) == []

    def test_on_miss_late_publishes_the_late_answer(self, node, robot):
        assert robot.set(budget__fixed=1e-6, on_miss='late').successful
        record = robot.ask()
        assert record.outcome is Outcome.late
        assert record.exit_index == 0
        assert record.slack < 0
        assert robot.level() == DiagnosticStatus.ERROR

    def test_the_control_loop_sets_the_deadline_to_its_last_useful_tick(self, node, robot):
        assert robot.set(
            budget__source='control_loop', budget__control_period=40.0, budget__max_age=80.0
        ).successful
        record = robot.ask()
        # The tick lies 40 to 80 s after the stamp, and on the grid of 40 s.
        assert 35 < record.budget <= 80
        deadline = record.stamp + record.slack + record.elapsed
        assert abs((deadline + 20) % 40 - 20) < 5

    def test_a_deadline_topic_is_obeyed_until_it_passes(self, node, robot):
        assert robot.set(budget__source='topic', budget__fixed=15.0).successful
        fallback = robot.ask()
        assert fallback.fault == 'no_deadline'
        assert 10 < fallback.budget <= 15
        assert robot.level() == DiagnosticStatus.WARN
        robot.announce(robot.now() + 300 * 10**9)
        for _ in range(20):
            record = robot.ask()  # one in progress when the announcement comes has its budget from before
            if record.budget > 20:
                break
        assert record.fault is None
        assert 200 < record.budget <= 300
        robot.announce(robot.now() + 500 * 10**9, 'camera')
        for _ in range(20):
            record = robot.ask()
            if record.budget > 310:
                break
        assert 400 < record.budget <= 500

    def test_an_announcement_that_cannot_be_read_changes_nothing(self, node, robot):
        assert robot.set(budget__source='topic', budget__fixed=15.0).successful
        for _ in range(20):  # Fast DDS drops them without telling anybody
            robot.announce_bytes(b'\x00\x01\x00\x00\xff\xff')
            assert robot.ask().outcome is Outcome.answered
        robot.announce(robot.now() + 900 * 10**9)
        robot.wait_until(lambda: robot.ask().budget > 800)

    @pytest.mark.parametrize(
        ('offset', 'fault'), [(None, 'zero_stamp'), (3600, 'future_stamp'), (-3600, 'stale_stamp')]
    )
    def test_faulty_stamps_are_counted_and_the_arrival_stands_in(self, node, robot, offset, fault):
        stamp = 0 if offset is None else robot.now() + offset * 10**9
        seen = len(robot.statuses['camera'])
        for _ in range(10):
            robot.send(stamp=stamp)
            try:
                robot.wait_for(lambda: len(robot.statuses['camera']) > seen, 5)
                break
            except AssertionError:
                continue
        record = robot.records('camera')[-1]
        assert record.fault == fault
        assert record.outcome is Outcome.answered
        assert 15 < record.budget <= 20


class TestBrokenInput:
    BROKEN = (
        {'data': b'123'},
        {'width': 0},
        {'height': 0},
        {'step': 1},
        {'encoding': 'nonsense'},
        {'encoding': ''},
        {'encoding': '32FC1'},
        {'encoding': '16UC1'},
        {'encoding': 'x' * 100_000},
        {'width': 2**32 - 1, 'height': 2**32 - 1},
        {'data': b''},
    )

    def test_images_whose_fields_disagree_are_dropped_and_good_ones_still_answered(self, node, robot):
        for fields in self.BROKEN:
            record = robot.ask(**fields)
            assert record.outcome is Outcome.dropped, fields
            assert record.reason
            assert robot.ask().outcome is Outcome.answered
        assert 'a frame was dropped' in node.log
        assert 'Traceback' not in node.log
        assert 'x' * 200 not in node.log

    def test_a_flood_of_images_supersedes_and_starves_nobody(self, node, robot):
        stop = threading.Event()
        stamps = []

        def flood():
            while not stop.is_set():
                stamps.append(robot.send(picture=np.zeros((480, 640, 3), np.uint8)))
                stop.wait(0.002)

        seen = len(robot.statuses['camera'])
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for value in (11.0, 12.0, 13.0):
                assert robot.set(budget__fixed=value).successful
            robot.wait_for(lambda: len(robot.statuses['camera']) > seen + 20)
        finally:
            stop.set()
            thread.join()
        outcomes = {record.outcome for record in robot.records('camera')[seen:]}
        assert Outcome.answered in outcomes
        assert outcomes <= {Outcome.answered, Outcome.superseded}


class TestServicesAndDiagnostics:
    def test_statistics_can_be_reset(self, node, robot):
        robot.ask()
        assert robot.call(Trigger, 'reset_statistics', Trigger.Request()).success

    def test_the_model_is_not_profiled_again_while_active(self, node, robot):
        response = robot.call(Trigger, 'reprofile', Trigger.Request())
        assert not response.success
        assert 'deactivate it first' in response.message
        assert robot.ask().outcome is Outcome.answered

    def test_diagnostics_tell_of_cameras_and_model(self, node, robot):
        robot.ask()
        # Not the first that comes: it may have been made before the frame ended.
        robot.wait_for(lambda: robot.values_of('camera').get('paths_used'))
        camera, model = robot.values_of('camera'), robot.values_of('model')
        assert float(camera['overrun_margin']) > 0
        assert int(camera['frames']) > 0
        assert 'exit 4 of 4: ' in camera['paths_used']
        assert float(model['prediction_error']) >= 0
        assert (model['state'], model['resolutions'], model['exits']) == ('active', '64', '4')
