"""One frame against an injected clock: what goes out, when it is due, and how it is recorded."""

import math
import threading
from dataclasses import replace

import pytest
from answers import NOTHING, answer, path

from impatient_ros.perception.deadlines import Deadline
from impatient_ros.perception.frame_in_progress import FrameInProgress
from impatient_ros.perception.frame_record import ARRIVED_LATE, Outcome
from impatient_ros.perception.latest_frames import Frame
from impatient_ros.perception.sending import Clocks, Sender
from impatient_ros.perception.settings import CameraParameters, PerceptionParameters

SECOND = 1_000_000_000


class Scene:
    """A frame that was picked up at 5 s (ROS) or 100 s (steady) with 2 s to its deadline."""

    def __init__(self, reserve=0.0, fallback=False, resolutions=1, **parameters):
        self.time, self.out, self.records, self.wakes = 0.0, [], [], 0
        self.sender = Sender(self, Clocks(lambda: round((5 + self.time) * SECOND), lambda: 100 + self.time))
        self.current = FrameInProgress(
            Frame('front', 'message', 5 * SECOND, 5 * SECOND, Deadline(7 * SECOND), superseded=2),
            Deadline(7 * SECOND, fallback=fallback),
            PerceptionParameters(**parameters, cameras=(CameraParameters('front'),)),
            reserve=reserve,
            exits=5,
            resolutions=resolutions,
            sender=self.sender,
            lock=threading.Condition(),
            due_changed=self.wake,
        )

    def wake(self):
        self.wakes += 1

    def answer(self, frame, given, top_k):
        self.out.append((None if given is None else given.exit_index, top_k))

    def record(self, frame, record):
        self.records.append(record)

    def ended(self):
        [record] = self.records
        return record


def test_a_finished_answer_is_published_at_once_with_one_record():
    scene = Scene()
    scene.current.planned(path(2), path(1), 1.3)
    final = answer(2)
    scene.current.answered(final)
    scene.time = 0.5
    assert scene.current.finish(final) is scene.ended()
    record = scene.ended()
    assert scene.out == [(2, 5)]
    assert record.outcome is Outcome.answered
    assert (record.camera, record.stamp, record.superseded, record.exits) == ('front', 5.0, 2, 5)
    assert (record.exit_index, record.planned_exit_index, record.slowdown) == (2, 2, 1.3)
    assert (record.label, record.confidence) == ('cat', 0.6)
    assert record.slack == pytest.approx(1.5)
    assert record.budget == pytest.approx(2.0)
    assert record.elapsed == pytest.approx(0.5)


def test_the_answer_is_out_before_the_record_is_made():
    scene = Scene(top_k=3)
    best = answer(2)
    scene.current.answered(best)
    scene.current.completed(best)
    assert scene.out == [(2, 3)]
    assert scene.records == []
    scene.current.finish(best)
    assert scene.out == [(2, 3)], 'not twice'
    assert scene.ended().outcome is Outcome.answered


def test_a_late_answer_is_published_as_late_where_that_is_wanted():
    scene = Scene(on_miss='late')
    scene.time = 3.0
    late = answer(1)
    scene.current.answered(late)
    scene.current.finish(late)
    assert scene.out == [(1, 5)]
    assert scene.ended().outcome is Outcome.late
    assert scene.ended().slack == pytest.approx(-1.0)


@pytest.mark.parametrize(('on_miss', 'out'), [('silent', []), ('empty', [(None, 5)])])
def test_a_late_answer_is_a_miss_where_it_is_not_wanted(on_miss, out):
    scene = Scene(on_miss=on_miss)
    scene.time = 3.0
    late = answer(1)
    scene.current.answered(late)
    scene.current.finish(late)
    assert scene.out == out
    assert (scene.ended().outcome, scene.ended().exit_index) == (Outcome.missed, None)


def test_a_deeper_answer_that_is_late_does_not_follow_one_that_was_in_time():
    scene = Scene(publish_mode='every', on_miss='late')
    scene.current.answered(answer(0))
    scene.time = 3.0
    scene.current.answered(late := answer(1))
    scene.current.finish(late)
    assert scene.out == [(0, 5)]
    assert scene.ended().outcome is Outcome.answered


def test_an_infeasible_frame_says_so():
    scene = Scene()
    scene.current.finish(replace(NOTHING, infeasible=True))
    assert scene.out == []
    assert scene.ended().outcome is Outcome.infeasible
    assert scene.ended().reason == 'budget below the first exit'


def test_with_several_resolutions_an_infeasible_frame_had_too_little_for_the_cheapest_path():
    scene = Scene(resolutions=3)
    scene.current.finish(replace(NOTHING, infeasible=True))
    assert scene.ended().reason == 'budget below the cheapest path'


def test_a_frame_that_arrived_after_its_deadline_is_called_that():
    scene = Scene()
    scene.current.move(Deadline(5 * SECOND))  # the instant of its arrival
    scene.current.finish(replace(NOTHING, infeasible=True))
    assert (scene.ended().outcome, scene.ended().reason) == (Outcome.infeasible, ARRIVED_LATE)
    late = Scene(on_miss='late')
    late.current.move(Deadline(4 * SECOND))
    late.current.finish(answer(0))
    assert (late.ended().outcome, late.ended().reason) == (Outcome.late, ARRIVED_LATE)


def test_every_better_answer_is_published_where_that_is_wanted():
    scene = Scene(publish_mode='every')
    answers = [answer(0), answer(1), answer(2)]
    for each in answers:
        scene.current.answered(each)
    scene.current.finish(answers[-1])
    assert scene.out == [(0, 5), (1, 5), (2, 5)]
    assert scene.ended().exit_index == 2


def test_a_sure_early_answer_says_that_it_was_sure():
    scene = Scene(confidence_threshold=0.9)
    sure = answer(0, confidence=0.95)
    scene.current.answered(sure)
    scene.current.finish(sure)
    assert scene.ended().reason == 'confident'


@pytest.mark.parametrize(
    ('taken', 'planned', 'reason'),
    [
        ((160, 4), (224, 0), 'confident'),  # a lower resolution, whatever the exit
        ((224, 1), (224, 2), 'confident'),
        ((224, 2), (224, 2), ''),
        ((224, 0), (160, 4), ''),  # beyond the plan
    ],
)
def test_a_sure_answer_stopped_early_where_its_path_lies_before_the_planned_one(taken, planned, reason):
    scene = Scene(confidence_threshold=0.9, resolutions=2)
    sure = answer(taken[1], planned[1], confidence=0.95, resolution=taken[0], planned_resolution=planned[0])
    scene.current.finish(sure)
    assert scene.ended().reason == reason


def test_the_record_has_the_path_that_answered_and_the_planned_one():
    scene = Scene(resolutions=2)
    scene.current.planned(path(3), path(1, resolution=160), 1.0)
    scene.current.finish(answer(1, resolution=160))
    record = scene.ended()
    assert (record.resolution, record.exit_index) == (160, 1)
    assert (record.planned_resolution, record.planned_exit_index) == (224, 3)
    assert (record.path, record.planned_path) == ('160 px, exit 2 of 5', '224 px, exit 4 of 5')


def test_an_unknown_answer_is_recorded_as_that():
    scene = Scene()
    scene.current.finish(answer(2, confidence=0.25, unknown=True))
    record = scene.ended()
    assert (record.label, record.confidence, record.unknown) == ('unknown', 0.75, True)
    assert scene.out == [(2, 5)]


def test_a_frame_for_which_no_stage_is_executed_has_no_planned_path():
    scene = Scene()
    scene.current.planned(None, None, 1.5)
    scene.current.finish(NOTHING)
    record = scene.ended()
    assert (record.outcome, record.slowdown, record.overrun) == (Outcome.missed, 1.5, None)
    assert (record.planned_resolution, record.planned_exit_index) == (None, None)


def test_an_infeasible_frame_says_the_slowdown_by_which_it_was_infeasible():
    scene = Scene()
    scene.current.finish(replace(NOTHING, infeasible=True, slowdown=1.7))
    record = scene.ended()
    assert (record.outcome, record.slowdown) == (Outcome.infeasible, 1.7)


def test_an_answer_by_the_fixed_budget_instead_of_an_announcement_says_so():
    scene = Scene(fallback=True)
    scene.current.finish(answer(2))
    assert (scene.ended().reason, scene.ended().fault) == ('deadline_fallback', 'no_deadline')


def test_a_dropped_frame_has_its_reason_and_no_answer():
    scene = Scene()
    scene.current.drop('truncated')
    scene.current.finish(NOTHING)
    assert (scene.ended().outcome, scene.ended().reason) == (Outcome.dropped, 'truncated')
    assert scene.out == []


class TestOverrun:
    """Whether the protected exit came later than planned."""

    @staticmethod
    def overrun(*answers, protected=1, **parameters):
        scene = Scene(**parameters)
        scene.current.planned(path(2), None if protected is None else path(protected), 1.0)
        for each in answers:
            scene.current.answered(each)
        scene.current.finish(answers[-1] if answers else NOTHING)
        return scene.ended().overrun

    def test_is_what_the_classifier_says(self):
        assert self.overrun(answer(1, overrun=False)) is False
        assert self.overrun(answer(1, overrun=True)) is True

    def test_does_not_apply_where_no_exit_was_protected(self):
        assert self.overrun(answer(1), protected=None) is None

    def test_a_missing_answer_counts_as_one(self):
        assert self.overrun() is True
        assert self.overrun(answer(0)) is True, 'an exit before the protected one'

    def test_an_earlier_answer_that_was_sure_enough_is_none(self):
        assert self.overrun(answer(0, confidence=0.95), confidence_threshold=0.9) is False


class TestDue:
    """When the thread that delivers must come."""

    def test_at_the_deadline_without_an_answer_and_by_the_reserve_earlier_with_one(self):
        scene = Scene(reserve=0.25)
        assert scene.current.until() == scene.current.due() == pytest.approx(102.0)
        scene.current.answered(answer(0))
        assert scene.wakes == 1
        assert scene.current.due() == pytest.approx(101.75)

    def test_not_at_all_once_it_has_ended(self):
        scene = Scene()
        scene.current.finish(answer(2))
        assert scene.current.due() == math.inf

    def test_the_answer_in_hand_goes_out_and_a_later_one_does_not(self):
        scene = Scene()
        scene.current.answered(answer(0))
        scene.time = 2.0
        scene.current.expire()
        scene.current.answered(answer(1))
        scene.current.finish(answer(1))
        assert scene.out == [(0, 5)]
        assert scene.ended().exit_index == 0

    def test_without_an_answer_it_is_missed(self):
        scene = Scene()
        scene.current.planned(path(1), path(1), 1.0)
        scene.time = 2.0
        scene.current.expire()
        assert scene.current.finish(answer(1)) is scene.ended()
        assert scene.out == []
        assert (scene.ended().outcome, scene.ended().planned_exit_index) == (Outcome.missed, 1)

    def test_a_frame_whose_late_answer_is_wanted_waits_for_it(self):
        scene = Scene(on_miss='late')
        scene.time = 2.0
        scene.current.expire()
        assert (scene.records, scene.current.due()) == ([], math.inf)
        scene.time = 4.0
        scene.current.answered(answer(0))
        assert scene.current.due() <= 104.0
        scene.current.expire()
        assert scene.out == [(0, 5)]
        assert scene.ended().outcome is Outcome.late

    def test_a_moved_deadline_counts_by_both_clocks(self):
        scene = Scene()
        scene.time = 1.0
        scene.current.move(Deadline(9 * SECOND))
        assert scene.wakes == 1
        assert scene.current.until() == pytest.approx(104.0)
        scene.time = 3.0
        scene.current.finish(answer(2))
        assert scene.ended().outcome is Outcome.answered
        scene.current.move(Deadline(SECOND))
        assert scene.current.until() == pytest.approx(104.0), 'it has ended'


class TestReserve:
    """What sending takes counts from when it could begin, not from how late the answer was."""

    def test_counts_from_the_deadline_where_an_answer_waited(self):
        scene = Scene(on_miss='late')
        scene.current.answered(answer(0))
        scene.time = 2.125
        scene.current.expire()
        assert scene.sender.reserve(0.0) == pytest.approx(0.125)

    def test_counts_from_a_late_answer_itself(self):
        scene = Scene(on_miss='late')
        scene.time = 9.0
        scene.current.answered(answer(0))
        scene.current.expire()
        assert scene.sender.reserve(0.0) == pytest.approx(0.0)

    def test_counts_from_the_announcement_that_moved_the_deadline(self):
        scene = Scene(on_miss='late')
        scene.current.answered(answer(0))
        scene.time = 1.0
        scene.current.move(Deadline(SECOND))
        scene.current.expire()
        assert scene.sender.reserve(0.0) == pytest.approx(0.0)


def test_elapsed_and_slack_add_up_to_the_budget():
    for moment in (0.1, 0.9, 1.9):
        scene = Scene()
        scene.time = moment
        record = scene.current.finish(answer(2))
        assert record.elapsed == pytest.approx(moment)
        assert record.elapsed + record.slack == pytest.approx(record.budget)
