import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.planning.error_window import ErrorWindow

errors = st.lists(st.floats(-2, 2), min_size=1, max_size=60)


class TestErrorWindow:
    @given(errors, st.integers(1, 20), errors)
    def test_they_are_the_latest_ones(self, start, size, later):
        kept = ErrorWindow(start, size)
        for error in later:
            kept.add(error)
        latest = (start + later)[-size:]
        assert kept.quantile(0.0) == min(latest)
        assert kept.quantile(1.0) == max(latest)
        assert math.isclose(kept.quantile(0.37), np.quantile(latest, 0.37), abs_tol=1e-9)

    @given(errors, st.floats(0.05, 20), st.floats(0.05, 20))
    def test_chance_grows_with_the_time_and_is_never_certain(self, start, one, other):
        kept = ErrorWindow(start, 60)
        low, high = sorted((one, other))
        assert 0 <= kept.chance(low) <= kept.chance(high) < 1
        assert (kept.chance(low) == 0) == (low < math.exp(min(start)))

    @given(errors, st.floats(-3, 3))
    def test_what_was_at_least_so_much_counts_as_one_of_those_that_were_more(self, start, bound):
        kept = ErrorWindow(start, 100)
        larger = [error for error in start if error > bound]
        counted = kept.add_at_least(bound)
        assert counted == (sorted(larger)[len(larger) // 2] if larger else bound)
        for probability in (0.1, 0.5, 0.9):
            assert kept.quantile(probability) == pytest.approx(np.quantile([*start, counted], probability))

    def test_spread_reaches_from_the_median_to_the_high_quantile_and_is_never_nothing(self):
        kept = ErrorWindow([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 10)
        assert kept.high == pytest.approx(0.9)
        assert kept.spread == pytest.approx(0.4)
        for _ in range(10):
            kept.add(0.3)
        assert kept.high == pytest.approx(0.3)
        assert 0 < kept.spread < 0.2

    def test_a_hiccup_that_the_window_never_saw_is_allowed_for(self):
        kept = ErrorWindow([0.0] * 100, 100)
        assert kept.chance(1.1) < kept.chance(3.0) < kept.chance(20.0)
