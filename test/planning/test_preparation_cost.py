"""Learned costs: quantiles from below, and what lets a camera recover from a cost that no longer holds."""

from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.planning.preparation_cost import PreparationCost, RollingQuantile

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


def test_a_slow_first_frame_does_not_set_the_preparation_cost():
    preparation = PreparationCost()
    preparation.observe_decode(0.030)
    assert preparation.decode == 0.0
    preparation.observe_decode(0.002)
    assert preparation.decode == 0.002


def test_what_was_forgotten_is_learned_anew():
    preparation = PreparationCost()
    preparation.forget()
    assert (preparation.decode, preparation.resize) == (0.0, (0.0,))
    for _ in range(40):
        preparation.observe_decode(0.050)
        preparation.observe_resize(0, 0.030)
    assert (preparation.decode, preparation.resize) == (0.050, (0.030,))
    preparation.forget()
    assert (preparation.decode, preparation.resize) == (0.0, (0.0,))
    for _ in range(2):
        preparation.observe_decode(0.004)
    assert preparation.decode == 0.004


def test_a_resolution_that_was_not_seen_yet_costs_what_the_nearest_one_does():
    preparation = PreparationCost(4)
    for _ in range(2):
        preparation.observe_resize(1, 0.001)
    assert preparation.resize == (0.001,) * 4
    for _ in range(2):
        preparation.observe_resize(3, 0.003)
    assert preparation.resize == (0.001, 0.001, 0.001, 0.003)
