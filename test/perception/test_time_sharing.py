import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import Clock, SimulatedRuntime, checkpoint, profile

from impatient_ros.anytime import AnytimeClassifier, FrameRequest
from impatient_ros.perception.time_sharing import share
from impatient_ros.planning.latency_profile import LatencyProfile

seconds = st.floats(-0.1, 1.0)


def test_alone_a_frame_may_use_all_that_is_left():
    assert share(0.1, []) == 0.1
    assert share(0.1, [-0.01, 0.0]) == 0.1  # nothing is kept for deadlines that are past


def test_frames_with_one_deadline_get_equal_parts_one_after_the_other():
    left, parts = 0.1, []
    for waiting in (3, 2, 1, 0):
        parts.append(share(left, [left] * waiting))
        left -= parts[-1]
    assert parts == pytest.approx([0.025] * 4)


def test_a_late_deadline_keeps_nobody_waiting():
    assert share(0.05, [1.0]) == 0.05


@given(seconds, st.lists(seconds, max_size=6))
def test_every_waiting_frame_is_left_at_least_as_much_as_the_first_one_takes(left, waiting):
    taken = share(left, waiting)
    assert taken <= left
    if left > 0:
        for others, until in enumerate(sorted(w for w in waiting if w > 0), start=1):
            assert (until - taken) / others >= taken - 1e-12


@given(seconds, st.lists(seconds, max_size=6), seconds)
def test_another_waiting_frame_never_gives_more_time(left, waiting, another):
    assert share(left, [*waiting, another]) <= share(left, waiting)


class TestExecution:
    def classify(self, budget, mine, **options):
        """A frame of `budget` seconds of which the network may use `mine`, beyond its first exit."""
        clock = Clock()
        runtime = SimulatedRuntime(clock)
        clf = AnytimeClassifier(checkpoint(clock=clock), runtime, [profile()], clock=clock, **options)
        request = FrameRequest(
            None,
            lambda: 100.0 + budget,
            settings=clf.settings,
            time_share=lambda left: left - (budget - mine),
        )
        return clf.run(request), runtime

    @pytest.mark.parametrize('mode', ['contract', 'adaptive', 'interruptible'])
    def test_a_frame_keeps_to_its_share(self, mode):
        answer, _ = self.classify(1.0, 0.0225, mode=mode)
        assert answer.met
        assert answer.elapsed <= 0.0225

    def test_what_is_left_is_not_divided_again_and_again(self):
        clock = Clock()
        runtime = SimulatedRuntime(clock)
        tables = profile().to_dict()
        for name in ('contract', 'interruptible'):  # so many samples that what they show is quite likely
            tables[name] = [[cell * 100 for cell in row] for row in tables[name]]
        known = LatencyProfile.from_dict(tables)
        clf = AnytimeClassifier(checkpoint(clock=clock), runtime, [known], mode='interruptible', clock=clock)
        answer = clf.run(
            FrameRequest(None, lambda: 100.05, settings=clf.settings, time_share=lambda left: left / 2)
        )
        assert answer.elapsed <= 0.025
        assert answer.exit_index == 1

    @pytest.mark.parametrize('mode', ['contract', 'adaptive', 'interruptible'])
    def test_the_first_exit_is_done_though_the_share_is_too_small(self, mode):
        answer, runtime = self.classify(0.05, 0.001, mode=mode)
        assert answer.exit_index == 0
        assert answer.met
        assert runtime.log == ['stage 0', 'exit 0']

    def test_a_frame_that_has_no_time_for_its_first_exit_is_infeasible(self):
        answer, runtime = self.classify(0.002, 0.001)
        assert answer.infeasible
        assert runtime.log == []
