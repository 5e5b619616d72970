import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import HEADS, STAGES, profile

from impatient_ros.planning.forecast import Forecast


def frame(factor, last=3, heads=None, rest=None):
    """Marks and heads of a frame that is `factor` times slower than its profile, `rest` from stage 2 on."""
    rest = factor if rest is None else rest
    heads = (last,) if heads is None else heads
    marks, done, now = [0.0], [], 0.0
    for t in range(last + 1):
        now += STAGES[t] * (factor if t == 0 else rest)
        marks.append(now)
        if t in heads:
            now += HEADS[t] * rest
            done.append((t, now))
    return marks, done


def forecast(**options):
    return Forecast(profile(), **options)


class TestLevel:
    @pytest.mark.parametrize('factor', [0.5, 1.7, 4.0])
    def test_a_step_in_load_is_followed_within_thirty_frames_and_back(self, factor):
        f = forecast()
        for _ in range(30):
            f.learn(*frame(factor))
        assert f.level == pytest.approx(factor, rel=0.02)
        for _ in range(30):
            f.learn(*frame(1.0))
        assert f.level == pytest.approx(1.0, rel=0.02)

    def test_two_frames_that_agree_are_a_change(self):
        f = forecast()
        f.learn(*frame(3.0))
        assert f.level < 2.0
        f.learn(*frame(3.0))
        assert f.level == pytest.approx(3.0, rel=0.15)

    def test_one_hiccup_is_forgotten(self):
        f = forecast()
        f.learn(*frame(20.0))
        for _ in range(8):
            f.learn(*frame(1.0))
        assert f.level == pytest.approx(1.0, rel=0.05)

    def test_a_hiccup_leaves_the_level_of_a_while_ago_as_it_was(self):
        f = forecast()
        f.learn(*frame(30.0))
        assert f.level < 1.5
        assert f.least_level <= f.level
        for _ in range(20):
            f.learn(*frame(0.5))
        assert f.least_level == pytest.approx(0.5, rel=0.02)

    def test_a_frame_that_is_slow_so_far_is_expected_to_stay_slow(self):
        f = forecast()
        assert f.level_within(0, 0.0) == 1.0
        assert f.level_within(1, STAGES[0]) == pytest.approx(1.0)
        assert 1.2 < f.level_within(1, 2 * STAGES[0]) < 2.0

    def test_heads_on_the_way_are_not_taken_for_slowness(self):
        f = forecast()
        for _ in range(20):
            f.learn(*frame(1.0, heads=(0, 1, 2, 3)))
        assert f.level == pytest.approx(1.0, rel=1e-6)

    def test_an_abandoned_frame_tells_about_its_stages(self):
        f = forecast()
        for _ in range(20):
            f.learn(*frame(2.0, last=1, heads=()))
        assert f.level == pytest.approx(2.0, rel=0.02)

    def test_a_frame_that_never_started_tells_nothing(self):
        f = forecast()
        f.learn([0.0], [])
        f.learn([], [])
        assert f.level == 1.0
        assert f.state().error is None


class TestPromises:
    @given(st.lists(st.floats(0.2, 6), max_size=80), st.floats(0.001, 0.3), st.integers(1, 4))
    def test_the_reach_counts_late_promises_against_their_rate(self, factors, rate, stages):
        # The law behind the long-run rate: whatever happened, late promises in excess of the rate are in the
        # reach, so a reach that stays bounded means a rate that tends to `rate`.
        f = forecast(rate=rate, gain=0.3)
        before, late = f.reach(stages), 0
        for factor in factors:
            promise = f.level * math.exp(f.log_margins()[stages]) * (sum(STAGES[:stages]) + HEADS[stages - 1])
            marks, heads = frame(factor, last=stages - 1)
            late += heads[-1][1] > promise * (1 + 1e-9)
            f.learn(marks, heads)
        excess = late - rate * len(factors)
        assert (f.reach(stages) - before) / 0.3 == pytest.approx(excess, abs=1.5)

    def test_a_promise_that_is_given_up_counts_at_its_depth(self):
        f, without = forecast(), forecast()
        f.learn(*frame(1.0, last=1, heads=()), given_up=3)
        without.learn(*frame(1.0, last=1, heads=()))
        assert f.reach(4) > without.reach(4)
        assert f.reach(2) == without.reach(2)

    @pytest.mark.parametrize('rate', [0.01, 0.05])
    @pytest.mark.parametrize('kind', ['steady', 'drift', 'spread', 'bursts'])
    def test_the_rate_is_held_whatever_the_machine_does(self, rate, kind):
        random = np.random.default_rng(3)
        f = forecast(rate=rate)
        late = []
        for number in range(8000):
            level, spread = 1.0, 0.1
            if kind == 'drift':
                level = 1.0 + number / 4000
            elif kind == 'spread':
                spread = 0.05 if number % 2000 < 1000 else 0.3
            elif kind == 'bursts':
                level = 2.5 if number % 150 < 12 else 1.0
            marks, heads = frame(level * float(np.exp(random.normal(0, spread))))
            promise = f.level * math.exp(f.log_margins()[4]) * (sum(STAGES) + HEADS[3])
            late.append(heads[-1][1] > promise)
            f.promised(late[-1])
            f.learn(marks, heads)
        assert np.mean(late[500:]) == pytest.approx(rate, abs=0.005)
        assert f.state().promises == 8000
        assert f.state().overrun_rate == np.mean(late)

    def test_a_burst_does_not_keep_later_promises_far_away(self):
        random = np.random.default_rng(1)
        f = forecast()

        def run(level, count):
            for _ in range(count):
                marks, heads = frame(level * float(np.exp(random.normal(0, 0.05))))
                f.learn(marks, heads)

        run(1.0, 300)
        before = f.log_margins()[4]
        run(3.0, 10)
        run(1.0, 15)
        assert f.level == pytest.approx(1.0, rel=0.15)
        assert math.exp(f.log_margins()[4] - before) < 1.6  # and not 3

    def test_exits_that_were_not_reached_learn_of_a_change_too(self):
        f = forecast()
        for _ in range(100):
            f.learn(*frame(2.0, last=0))
        assert math.exp(f.log_margins()[4]) < 1.1  # the level has it: no error is left

    def test_reset_forgets(self):
        f = forecast()
        for _ in range(5):
            f.learn(*frame(3.0))
            f.promised(True)
        f.reset()
        assert f.level == 1.0
        assert f.state().promises == 0
        assert f.log_margins() == forecast().log_margins()


@given(st.lists(st.floats(0.3, 5), min_size=1, max_size=40))
def test_margins_and_levels_stay_finite(factors):
    f = forecast()
    for factor in factors:
        f.learn(*frame(factor))
    assert all(math.isfinite(m) for p in range(5) for m in f.log_margins(p))
    assert 0.2 < f.level < 8


class TestPassedInOneGo:
    """Where a runtime executes a path, or a stage and its head, in one go, boundaries have no instant."""

    def test_a_path_in_one_go_teaches_the_level_as_its_stages_would(self):
        one_go, step_by_step = Forecast(profile()), Forecast(profile())
        marks, heads = frame(2.0)
        for _ in range(20):
            step_by_step.learn(marks, heads[-1:])
            one_go.learn([0.0, *[math.nan] * (len(marks) - 1)], heads[-1:])
        assert one_go.level == pytest.approx(step_by_step.level, rel=0.05)
        assert one_go.level > 1.8

    def test_what_was_not_seen_leaves_the_errors_on_the_way_alone(self):
        forecast = Forecast(profile())
        before = [errors.high for errors in forecast.errors(1)]
        marks, heads = frame(1.0)
        forecast.learn([0.0, *[math.nan] * (len(marks) - 1)], heads[-1:])
        assert [errors.high for errors in forecast.errors(1)] == before


class TestLooks:
    """Deciding takes time of its own, which is the less negligible the smaller the network is."""

    LOOK = 0.004

    def looked(self, heads=(3,)):
        """A frame at the profile's own speed that decided for LOOK seconds before everything it executed."""
        marks, done = frame(1.0, heads=heads)
        pieces, shifted, scores = 0, [0.0], []
        for position in range(1, len(marks)):
            pieces += 1
            shifted.append(marks[position] + pieces * self.LOOK)
            for t, instant in done:
                if t == position - 1:
                    pieces += 1
                    scores.append((t, instant + pieces * self.LOOK))
        return shifted, scores, pieces

    @pytest.mark.parametrize('heads', [(3,), (0, 1, 2, 3), (1, 3)])
    def test_they_are_learned_and_are_no_slowness(self, heads):
        f = forecast()
        for _ in range(300):
            marks, scores, pieces = self.looked(heads)
            f.learn(marks, scores, decided=pieces * self.LOOK)
        assert f.look == pytest.approx(self.LOOK, rel=0.1)
        assert f.level == pytest.approx(1.0, rel=0.02)
        assert all(abs(errors.quantile(0.5)) < 0.05 for errors in f.errors(0)[1:])
        assert all(abs(errors.quantile(0.5)) < 0.05 for errors in f.errors(1))

    def test_another_process_in_between_is_no_look(self):
        f = forecast()
        marks, scores = frame(1.0)
        f.learn(marks, scores, decided=3.0)
        assert f.look < 1e-5


class TestHiccups:
    """What comes once hits the beginning of a path the more seldom the shorter it is."""

    @staticmethod
    def run(every, factor):
        f = forecast()
        for number in range(200):
            f.learn([0.0, *[math.nan] * 4], [(3, 0.041 * (factor if number % every == 0 else 1.0))])
        return f

    def test_the_first_exit_is_not_charged_with_all_that_deep_frames_met(self):
        f = self.run(every=10, factor=5.0)
        chances = [errors.chance(2.0) for errors in f.errors(0)[1:]]
        assert chances[-1] == pytest.approx(0.9, abs=0.02)
        assert chances == sorted(chances, reverse=True)
        assert chances[0] > 0.96

    def test_and_with_more_of_it_when_it_is(self):
        f = self.run(every=10, factor=5.0)
        worst = [errors.quantile(1.0) for errors in f.errors(0)[1:]]
        assert worst == sorted(worst, reverse=True)
