"""Delivery on real threads: events, not sleeps, decide when something happens."""

import threading
import time

import pytest
from answers import NOTHING, answer, path

from impatient_ros.perception.deadlines import Deadline
from impatient_ros.perception.delivery import Delivery
from impatient_ros.perception.frame_record import Outcome
from impatient_ros.perception.latest_frames import Frame
from impatient_ros.perception.sending import Clocks
from impatient_ros.perception.settings import BudgetParameters, CameraParameters, PerceptionParameters

SECOND = 1_000_000_000
FRAME = Frame('front', 'message', 5 * SECOND, 5 * SECOND, Deadline(5 * SECOND), superseded=2)


class Recorder:
    """Outputs that remember, and tell waiting tests."""

    def __init__(self):
        self.answers, self.records = [], []
        self.changed = threading.Condition()

    def answer(self, frame, given, top_k):
        with self.changed:
            self.answers.append(given)
            self.top_k = top_k
            self.changed.notify_all()

    def record(self, frame, record):
        with self.changed:
            self.records.append(record)
            self.changed.notify_all()

    def wait_for(self, what, timeout=10):
        with self.changed:
            assert self.changed.wait_for(what, timeout)


class RosClock:
    now = 5 * SECOND

    def __call__(self):
        return self.now


@pytest.fixture
def scene():
    outputs, clock = Recorder(), RosClock()
    delivery = Delivery(outputs, Clocks(clock, time.perf_counter))
    delivery.start()
    yield delivery, outputs, clock
    delivery.stop()


def begin(delivery, budget, reserve=0.0, **parameters):
    deadline = Deadline(5 * SECOND + round(budget * SECOND))
    camera = CameraParameters('front', budget=BudgetParameters(reserve=reserve))
    snapshot = PerceptionParameters(**parameters, cameras=(camera,))
    return delivery.begin(FRAME, deadline, snapshot, exits=5, resolutions=1)


def test_an_answer_in_hand_leaves_by_the_deadline_while_the_classifier_still_works(scene):
    delivery, outputs, _ = scene
    current = begin(delivery, 0.05)
    first = answer(0)
    current.answered(first)
    outputs.wait_for(lambda: outputs.records)  # nobody has called finish
    assert outputs.answers == [first]
    assert outputs.records[0].outcome is Outcome.answered
    assert outputs.records[0].exit_index == 0
    current.finish(answer(2))
    assert outputs.answers == [first], 'a frame that has ended stays as it is'
    assert len(outputs.records) == 1


def test_the_reserve_is_kept_free(scene):
    delivery, outputs, _ = scene
    current = begin(delivery, 3600.0, reserve=3600.0)
    current.answered(answer(0))
    outputs.wait_for(lambda: outputs.records)
    assert outputs.records[0].outcome is Outcome.answered


def test_without_an_answer_the_deadline_itself_ends_the_frame(scene):
    delivery, outputs, _ = scene
    current = begin(delivery, 0.02)
    current.planned(path(1), path(1), 1.0)
    outputs.wait_for(lambda: outputs.records)
    assert outputs.answers == []
    assert outputs.records[0].outcome is Outcome.missed
    assert outputs.records[0].planned_exit_index == 1
    current.finish(answer(1))
    assert outputs.answers == []
    assert len(outputs.records) == 1


def test_a_deadline_that_moves_closer_ends_the_frame_in_progress(scene):
    delivery, outputs, _ = scene
    current = begin(delivery, 3600.0)
    current.answered(answer(0))
    delivery.move(lambda moved: Deadline(moved.frame.stamp_ns))
    outputs.wait_for(lambda: outputs.records)
    assert outputs.records[0].outcome in (Outcome.answered, Outcome.late)
    assert current.until() < float('inf')


def test_frames_that_were_not_picked_up_get_their_records(scene):
    delivery, outputs, _ = scene
    delivery.discard(FRAME, Outcome.superseded)
    delivery.discard(FRAME, Outcome.dropped, 'deactivated')
    outputs.wait_for(lambda: len(outputs.records) == 2)
    assert [(r.outcome, r.reason) for r in outputs.records] == [
        (Outcome.superseded, ''),
        (Outcome.dropped, 'deactivated'),
    ]


def test_stop_sends_what_is_due():
    outputs = Recorder()
    delivery = Delivery(outputs, Clocks(RosClock(), time.perf_counter))
    delivery.start()
    for _ in range(20):
        delivery.discard(FRAME, Outcome.superseded)
    delivery.stop()
    assert len(outputs.records) == 20


class TestSimulatedTime:
    """Budgets count as steady seconds; a ROS clock that does not keep step leaves no frame stuck."""

    @pytest.fixture(params=['half speed', 'paused', 'jumps back'])
    def ros(self, request):
        """The delivery, its outputs, and what the ROS clock does once a frame is in progress."""
        outputs, clock = Recorder(), RosClock()
        started = time.perf_counter()

        def half_speed():
            return 5 * SECOND + round((time.perf_counter() - started) * SECOND / 2)

        def change():
            if request.param == 'jumps back':
                clock.now = SECOND

        ros_ns = half_speed if request.param == 'half speed' else clock
        delivery = Delivery(outputs, Clocks(ros_ns, time.perf_counter))
        delivery.start()
        yield delivery, outputs, change
        delivery.stop()

    def test_a_frame_ends_though_the_classifier_does_not(self, ros):
        delivery, outputs, change = ros
        for number in range(1, 4):
            current = begin(delivery, 0.05)
            change()
            outputs.wait_for(lambda number=number: len(outputs.records) == number)
            assert outputs.records[-1].outcome is Outcome.missed
            assert current.finish(NOTHING).outcome is Outcome.missed
        assert len(outputs.records) == 3

    def test_an_answer_in_hand_goes_out(self, ros):
        delivery, outputs, change = ros
        for number in range(1, 4):
            current = begin(delivery, 0.05)
            change()
            current.answered(answer(0))
            outputs.wait_for(lambda number=number: len(outputs.records) == number)
            assert outputs.records[-1].outcome is Outcome.answered
            current.finish(answer(0))
        assert len(outputs.answers) == len(outputs.records) == 3


def test_the_thread_is_woken_only_for_what_is_due_before_it_looks_by_itself():
    """Seen from outside: how often it asks what time it is."""
    looks = []
    looked = threading.Condition()

    def steady():
        if threading.current_thread().name == 'delivery':
            with looked:
                looks.append(1)
                looked.notify_all()
        return time.perf_counter()

    def wait_for_looks(least):
        with looked:
            assert looked.wait_for(lambda: len(looks) >= least, 10)

    outputs, clock = Recorder(), RosClock()
    delivery = Delivery(outputs, Clocks(clock, steady))
    delivery.start()
    try:
        wait_for_looks(1)
        current = begin(delivery, 60.0)
        wait_for_looks(2)  # woken for the first frame, it has looked at the deadline
        for _ in range(100):  # often enough that a thread that is woken has looked by the end
            current.finish(answer(2))
            current = begin(delivery, 70.0)  # later than the first frame's deadline
            current.answered(answer(0))
        assert len(looks) == 2
        begin(delivery, 0.0)
        outputs.wait_for(lambda: len(outputs.records) == 101)
        assert len(looks) > 2
    finally:
        delivery.stop()
    assert outputs.records[-1].outcome is Outcome.missed


def test_an_output_that_fails_costs_one_frame_not_the_thread(scene, caplog):
    delivery, outputs, _ = scene
    publish = outputs.answer
    outputs.answer = lambda *given: 1 / 0
    current = begin(delivery, 0.01)
    current.answered(answer(0))
    outputs.wait_for(lambda: outputs.records)
    assert (outputs.records[0].outcome, outputs.records[0].reason) == (Outcome.dropped, 'internal_error')
    assert 'could not be published' in caplog.text
    outputs.answer = publish
    begin(delivery, 0.01)
    outputs.wait_for(lambda: len(outputs.records) == 2)
    assert outputs.records[1].outcome is Outcome.missed


def test_a_status_that_cannot_be_published_is_logged_and_the_thread_lives(scene, caplog):
    delivery, outputs, _ = scene
    publish, failed = outputs.record, threading.Event()

    def fail(frame, record):
        failed.set()
        raise RuntimeError('no publisher')

    outputs.record = fail
    delivery.discard(FRAME, Outcome.superseded)
    assert failed.wait(10)
    outputs.record = publish
    delivery.discard(FRAME, Outcome.superseded)
    outputs.wait_for(lambda: outputs.records)
    assert 'no publisher' in caplog.text


def test_what_sending_takes_is_kept_free_before_the_next_deadline(scene):
    delivery, _, _ = scene
    late_by = 0.25
    current = begin(delivery, 60.0)
    assert current.reserve == 0.0
    # An answer that was there 0.25 s before it is sent.
    sent = answer(2, elapsed=-late_by)
    current.completed(sent)
    current.finish(sent)
    assert delivery.reserve(0.0) == pytest.approx(late_by, abs=0.2)
    assert delivery.reserve(3.0) == 3.0
    assert begin(delivery, 60.0).reserve == pytest.approx(late_by, abs=0.2)


def test_the_record_follows_every_answer_whichever_thread_sends_it():
    """The deadline passes while the classifier hands answers over: one record, the last thing to go out."""
    for _ in range(50):
        out = []
        outputs = Recorder()
        outputs.answer = lambda frame, given, top_k, out=out: out.append('answer')
        record = outputs.record

        def close(frame, ended, out=out, record=record):
            out.append('record')
            record(frame, ended)

        outputs.record = close
        delivery = Delivery(outputs, Clocks(RosClock(), time.perf_counter))
        delivery.start()
        current = begin(delivery, 0.002, publish_mode='every')
        while not outputs.records:
            current.answered(answer(0))
        current.finish(answer(1))
        delivery.stop()
        assert out.count('record') == 1
        assert out[-1] == 'record'


class TestStopping:
    """What is still executed for a frame that has ended is stopped for one that waits."""

    def test_one_that_waits_stops_what_has_ended_and_nothing_else(self, scene):
        delivery, outputs, _ = scene
        delivery.frame_waits()  # there is none in progress
        current = begin(delivery, 3600.0)
        delivery.frame_waits()
        assert not current.cancellation.requested, 'it has its time'
        current.finish(NOTHING)
        delivery.frame_waits()
        assert current.cancellation.requested
        assert len(outputs.records) == 1

    @pytest.mark.parametrize('waits', [True, False])
    def test_at_its_deadline_it_is_stopped_where_one_waits(self, waits):
        outputs = Recorder()
        delivery = Delivery(outputs, Clocks(RosClock(), time.perf_counter), waiting=lambda: waits)
        delivery.start()
        current = begin(delivery, 0.02)
        outputs.wait_for(lambda: outputs.records)
        delivery.stop()  # after the step in which it ended
        assert current.cancellation.requested == waits
        assert [record.outcome for record in outputs.records] == [Outcome.missed]

    def test_a_late_answer_that_is_wanted_is_waited_for(self):
        outputs = Recorder()
        delivery = Delivery(outputs, Clocks(RosClock(), time.perf_counter), waiting=lambda: True)
        current = begin(delivery, 0.0, on_miss='late')
        current.expire()
        delivery.frame_waits()
        assert not current.cancellation.requested
        late = answer(1)
        current.completed(late)
        current.finish(late)
        assert outputs.answers == [late]
