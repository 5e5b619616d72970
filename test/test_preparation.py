"""Learned costs: quantiles from below, and what lets a camera recover from a cost that no longer holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.preparation import PreparationCost, RollingQuantile

costs = st.lists(st.floats(0, 10, allow_nan=False), min_size=1, max_size=60)


@given(costs, st.floats(0, 1))
def test_the_quantile_is_an_observation_and_at_most_its_share_lies_below(observations, probability):
    quantile = RollingQuantile(probability, start=0.0)
    for cost in observations:
        quantile.observe(cost)
    assert quantile.value in observations
    assert sum(cost < quantile.value for cost in observations) <= probability * (len(observations) - 1)


def test_it_starts_as_told_and_forgets_what_left_the_window():
    quantile = RollingQuantile(0.5, start=0.25, window=3)
    assert quantile.value == 0.25
    for cost in (9.0, 1.0, 1.0, 1.0):
        quantile.observe(cost)
    assert quantile.value == 1.0


def test_one_slow_frame_among_few_does_not_set_the_preparation_cost():
    preparation = PreparationCost()
    preparation.observe(0.030)
    preparation.observe(0.002)
    assert preparation.value == 0.002


def test_relaxing_keeps_the_best_seen_and_the_next_frames_decide_again():
    preparation = PreparationCost()
    preparation.relax()
    assert preparation.value == 0.0
    for cost in (0.002, *[0.050] * 40):
        preparation.observe(cost)
    assert preparation.value == 0.050
    preparation.relax()
    assert preparation.value == 0.002
    for _ in range(9):
        preparation.observe(0.040)
    assert preparation.value == pytest.approx(0.040)
