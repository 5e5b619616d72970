import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import STAGES, frame, fused_frame, profile, timing

from impatient_ros.planning.forecast import Forecast
from impatient_ros.planning.frame_timing import CutShort


class TestSlowdown:
    @pytest.mark.parametrize('factor', [0.5, 1.7, 4.0])
    def test_a_step_in_load_is_followed_within_thirty_frames_and_back(self, factor):
        f = Forecast([profile()])
        for _ in range(30):
            f.learn(frame(factor))
        assert f.slowdown == pytest.approx(factor, rel=0.02)
        for _ in range(30):
            f.learn(frame(1.0))
        assert f.slowdown == pytest.approx(1.0, rel=0.02)

    def test_two_frames_that_agree_are_a_change(self):
        f = Forecast([profile()])
        f.learn(frame(3.0))
        assert f.slowdown < 2.0
        f.learn(frame(3.0))
        assert f.slowdown == pytest.approx(3.0, rel=0.15)

    def test_one_hiccup_is_forgotten(self):
        f = Forecast([profile()])
        f.learn(frame(20.0))
        for _ in range(8):
            f.learn(frame(1.0))
        assert f.slowdown == pytest.approx(1.0, rel=0.05)

    def test_a_hiccup_leaves_the_slowdown_of_a_while_ago_as_it_was(self):
        f = Forecast([profile()])
        f.learn(frame(30.0))
        assert f.slowdown < 1.5
        assert f.optimistic_slowdown <= f.slowdown
        for _ in range(20):
            f.learn(frame(0.5))
        assert f.optimistic_slowdown == pytest.approx(0.5, rel=0.02)

    def test_a_frame_that_is_slow_so_far_is_expected_to_stay_slow(self):
        f = Forecast([profile()])
        assert f.slowdown_within(0, 0, 0.0) == 1.0
        assert f.slowdown_within(0, 1, STAGES[0]) == pytest.approx(1.0)
        assert 1.2 < f.slowdown_within(0, 1, 2 * STAGES[0]) < 2.0

    def test_heads_on_the_way_are_not_taken_for_slowness(self):
        f = Forecast([profile()])
        for _ in range(20):
            f.learn(frame(1.0, heads=(0, 1, 2, 3)))
        assert f.slowdown == pytest.approx(1.0, rel=1e-6)

    def test_an_abandoned_frame_tells_about_its_stages(self):
        f = Forecast([profile()])
        for _ in range(20):
            f.learn(frame(2.0, last=1, heads=()))
        assert f.slowdown == pytest.approx(2.0, rel=0.02)

    def test_a_frame_that_never_started_tells_nothing(self):
        f = Forecast([profile()])
        assert f.learn(timing([0.0], [])) == f.learn(timing([], [])) == []
        assert (f.slowdown, f.frames) == (1.0, 0)
        assert f.median_error() is None


def test_what_it_learned_is_told_by_depth():
    errors = Forecast([profile()]).learn(frame(2.0, heads=(0, 3)))
    assert [each.depth for each in errors] == [1, 2, 3, 4]
    assert all(each.error == pytest.approx(math.log(2.0)) for each in errors)


@given(st.lists(st.floats(0.3, 5), min_size=1, max_size=40))
def test_slowdowns_stay_finite(factors):
    f = Forecast([profile()])
    for factor in factors:
        f.learn(frame(factor))
    assert 0.2 < f.optimistic_slowdown <= f.slowdown < 8
    assert f.frames == len(factors)


class TestFusedPaths:
    """Where a runtime executes a path, or a stage and its head, in one call, boundaries have no instant."""

    def test_a_fused_path_teaches_the_slowdown_as_its_stages_would(self):
        fused, stepwise = Forecast([profile()]), Forecast([profile()])
        seen = frame(2.0)
        for _ in range(20):
            stepwise.learn(seen)
            fused.learn(fused_frame(seen.exit_times[-1].time))
        assert fused.slowdown == pytest.approx(stepwise.slowdown, rel=0.05)
        assert fused.slowdown > 1.8

    def test_what_was_not_seen_leaves_the_errors_on_the_way_alone(self):
        f = Forecast([profile()])
        before = [errors.high for errors in f.errors[5:]]
        f.learn(fused_frame(0.041))
        assert [errors.high for errors in f.errors[5:]] == before


class TestDecisionCost:
    """Deciding takes time of its own, which is the less negligible the smaller the network is."""

    COST = 0.004

    def decided(self, heads=(3,)):
        """A frame at the profile's own speed that decided for COST seconds before everything it executed."""
        seen = frame(1.0, heads=heads)
        calls, shifted, scores = 0, [0.0], []
        for position in range(1, len(seen.boundary_times)):
            calls += 1
            shifted.append(seen.boundary_times[position] + calls * self.COST)
            for t, instant in seen.exit_times:
                if t == position - 1:
                    calls += 1
                    scores.append((t, instant + calls * self.COST))
        return timing(shifted, scores, deciding=calls * self.COST)

    @pytest.mark.parametrize('heads', [(3,), (0, 1, 2, 3), (1, 3)])
    def test_it_is_learned_and_is_no_slowness(self, heads):
        f = Forecast([profile()])
        for _ in range(300):
            f.learn(self.decided(heads))
        assert f.decision_cost == pytest.approx(self.COST, rel=0.1)
        assert f.slowdown == pytest.approx(1.0, rel=0.02)
        assert all(abs(errors.quantile(0.5)) < 0.05 for errors in f.errors[1:5])
        assert all(abs(errors.quantile(0.5)) < 0.05 for errors in f.errors[5:])

    def test_another_process_in_between_is_no_decision(self):
        f = Forecast([profile()])
        seen = frame(1.0)
        seen.deciding = 3.0
        f.learn(seen)
        assert f.decision_cost < 1e-5


class TestHiccups:
    """What comes once hits the beginning of a path the more seldom the shorter it is."""

    @staticmethod
    def run(every, factor):
        f = Forecast([profile()])
        for number in range(200):
            f.learn(fused_frame(0.041 * (factor if number % every == 0 else 1.0)))
        return f

    def test_the_first_exit_is_not_charged_with_all_that_deep_frames_met(self):
        f = self.run(every=10, factor=5.0)
        chances = [errors.chance(2.0) for errors in f.errors[1:5]]
        assert chances[-1] == pytest.approx(0.9, abs=0.02)
        assert chances == sorted(chances, reverse=True)
        assert chances[0] > 0.96

    def test_and_with_more_of_it_when_it_is(self):
        f = self.run(every=10, factor=5.0)
        worst = [errors.quantile(1.0) for errors in f.errors[1:5]]
        assert worst == sorted(worst, reverse=True)


class TestStoppedOnItsWay:
    """A run that was stopped took at least so long."""

    @staticmethod
    def stopped(time, position=4, *, boundaries=(0.0,), scores=True):
        made = timing(boundaries, [])
        made.cut = CutShort(position, time, scores)
        return made

    @given(st.floats(0.5, 20.0), st.floats(0.1, 1.0))  # within MAX_LOG
    def test_it_shows_no_more_than_the_same_run_would_have_shown_in_the_end(self, factor, share):
        whole, part = Forecast([profile()]), Forecast([profile()])
        took = factor * 0.041
        whole.learn(fused_frame(took))
        [error] = part.learn(self.stopped(share * took))
        assert error.at_least
        assert error.error == pytest.approx(math.log(share * factor))
        assert 1.0 <= part.slowdown <= max(1.0, whole.slowdown + 1e-9)
        assert (part.slowdown > 1.0) == (error.error > 0.0)

    def test_one_that_ended_before_its_forecast_tells_nothing(self):
        f = Forecast([profile()])
        f.learn(self.stopped(0.02))
        assert f.slowdown == 1.0
        assert f.frames == 0
        assert f.median_error() is None
        assert all(window.quantile(1.0) == 0.0 for window in f.errors)

    def test_in_the_head_at_a_boundary_that_was_reached_it_counts_once(self):
        f, other = Forecast([profile()]), Forecast([profile()])
        reached = timing([0.0, 2 * STAGES[0], 2 * (STAGES[0] + STAGES[1])], [])
        exact = other.learn(reached)
        found = f.learn(self.stopped(0.5, 2, boundaries=reached.boundary_times))
        assert found == exact
        assert f.slowdown == other.slowdown

    def test_two_in_a_row_are_a_change(self):
        f = Forecast([profile()])
        for _ in range(2):
            f.learn(self.stopped(3 * 0.041))
        assert f.slowdown == pytest.approx(3.0, rel=0.15)

    def test_the_boundaries_before_it_are_observed_as_ever(self):
        f, other = Forecast([profile()]), Forecast([profile()])
        reached = timing([0.0, 2 * STAGES[0], 2 * (STAGES[0] + STAGES[1])], [])
        exact = other.learn(reached)
        found = f.learn(self.stopped(0.041, 3, boundaries=reached.boundary_times, scores=False))
        assert found[:2] == exact
        assert [error.at_least for error in found] == [False, False, True]
        assert found[2].error < found[1].error  # a moment after the boundary: it knows less than that
        assert f.slowdown == pytest.approx(other.slowdown)
