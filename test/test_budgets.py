import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impatient_ros.budgets import (
    NAMED_DISTRIBUTIONS,
    Bimodal,
    Early,
    Empirical,
    Late,
    Normal,
    Uniform,
    distribution_from_dict,
    exit_weights,
    named_distribution,
)

costs_lists = st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=8, unique=True).map(sorted)
distributions = st.one_of(
    st.tuples(st.sampled_from(sorted(NAMED_DISTRIBUTIONS)), st.floats(1e-3, 2.0)).map(
        lambda a: named_distribution(*a)
    ),
    st.lists(st.floats(0, 2.0), min_size=1, max_size=50).map(Empirical),
)


@given(distributions, costs_lists)
def test_weights_are_shares_that_sum_to_one(distribution, costs):
    weights = exit_weights(distribution, costs)
    assert weights.shape == (len(costs) + 1,)
    assert np.all(weights >= 0)
    assert math.isclose(weights.sum(), 1.0, abs_tol=1e-12)


@settings(max_examples=25, deadline=None)
@given(distributions, costs_lists)
def test_weights_agree_with_sampled_budgets(distribution, costs):
    budgets = distribution.sample(2000, seed=1)
    chosen = np.searchsorted(costs, budgets, side='right')  # number of exits whose cost <= budget
    shares = np.bincount(chosen, minlength=len(costs) + 1) / len(budgets)
    assert np.allclose(shares, exit_weights(distribution, costs), atol=0.05)


@given(costs_lists, st.data())
def test_a_budget_equal_to_a_cost_suffices_for_that_exit(costs, data):
    exit_index = data.draw(st.integers(0, len(costs) - 1))
    weights = exit_weights(Empirical([costs[exit_index]]), costs)
    assert weights[exit_index + 1] == 1.0


def test_uniform_weights_are_the_gaps_between_costs():
    assert np.allclose(exit_weights(Uniform(0.0, 1.0), [0.2, 0.5]), [0.2, 0.3, 0.5])


@given(distributions, st.floats(0.001, 0.999))
def test_quantile_inverts_cdf(distribution, probability):
    budget = distribution.quantile(probability)
    assert distribution.cdf(budget * (1 + 1e-9) + 1e-12) >= probability - 1e-6
    assert distribution.below(budget * (1 - 1e-6)) <= probability + 1e-4


def test_late_mirrors_early():
    early, late = Early(0.1), Late(0.1)
    for share in (0.1, 0.5, 0.9):
        assert math.isclose(early.cdf(share * 0.12), 1 - late.cdf(0.12 - share * 0.12), abs_tol=1e-12)
    assert exit_weights(early, [0.05, 0.1])[0] > 0.7 > 0.3 > exit_weights(late, [0.05, 0.1])[0]


def test_bimodal_has_equal_parts():
    assert math.isclose(Bimodal(1.0).cdf(0.6), 0.5, abs_tol=1e-3)


@pytest.mark.parametrize('costs', [[], [0.0, 0.1], [0.2, 0.1], [0.1, 0.1], [0.1, math.inf], [math.nan]])
def test_costs_that_cannot_be_are_refused(costs):
    with pytest.raises(ValueError, match='costs'):
        exit_weights(Uniform(0, 1), costs)


@pytest.mark.parametrize(
    'make',
    [
        lambda: Uniform(0.2, 0.1),
        lambda: Uniform(-0.1, 0.1),
        lambda: Normal(0.1, 0.0),
        lambda: Normal(100.0, 0.001, 0.0, 1.0),
        lambda: Early(0.0),
        lambda: Empirical([]),
        lambda: Empirical([math.nan]),
        lambda: named_distribution('erly', 1.0),
        lambda: distribution_from_dict({'distribution': 'uniform', 'low': 0.1}),
        lambda: distribution_from_dict({'low': 0.1}),
    ],
)
def test_impossible_distributions_are_refused(make):
    with pytest.raises(ValueError):
        make()


@given(distributions)
def test_dict_round_trip(distribution):
    assert distribution_from_dict(distribution.to_dict()) == distribution
