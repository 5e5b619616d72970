"""The best set of exits, against every set that there is."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.budgets import BudgetDistribution, Early, Empirical, Late, Uniform
from training.placement.search import Candidate, Costs, best_set, worth

LAST = 100.0
shares = st.integers(1, 99).map(lambda percent: percent / 100)


def candidate(position: int, backbone: float, head: float, accuracy: float, share: float = 0.0) -> Candidate:
    return Candidate(f'point {position}', position, share, backbone, head, share, accuracy)


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    """Some cut points, each with heads of one to three sizes; any accuracies."""
    ends = sorted(draw(st.lists(st.integers(1, 98), min_size=1, max_size=4, unique=True)))
    return [
        candidate(position, end, LAST * size, draw(shares), size)
        for position, end in enumerate(ends)
        for size in draw(st.lists(st.sampled_from([0.005, 0.01, 0.02, 0.04, 0.1]), min_size=1, max_size=3))
    ]


distributions = st.one_of(
    st.sampled_from([Uniform(0.0, 1.2 * LAST), Early(LAST), Late(LAST)]),
    st.lists(st.integers(1, 120), min_size=1, max_size=8).map(Empirical),
)


def feasible(offered: list[Candidate], costs: Costs, exits: int, head_share: float) -> list[list[Candidate]]:
    """All sets: one head per point, deeper exits dearer, no more heads than allowed."""
    found = []
    for count in range(exits):
        for some in combinations(sorted(offered, key=lambda each: each.position), count):
            each, total = costs.of(some), sum(one.head_share for one in some)
            ascending = all(a < b for a, b in pairwise(each))
            distinct = len({one.position for one in some}) == count
            if ascending and distinct and total <= head_share:
                found.append(list(some))
    return found


@given(
    candidates(),
    distributions,
    shares,
    st.integers(1, 4),
    st.sampled_from([0.02, 0.05, 1.0]),
    st.booleans(),
    st.sampled_from([0.0, 0.001, 0.02]),
)
def test_no_set_of_exits_is_worth_more(
    offered: list[Candidate],
    distribution: BudgetDistribution,
    last: float,
    exits: int,
    head_share: float,
    interruptible: bool,
    least_gain: float,
) -> None:
    costs = Costs(LAST, 3.0, interruptible)
    chosen = best_set(
        distribution, offered, last, costs, exits=exits, head_share=head_share, least_gain=least_gain
    )
    sets = feasible(offered, costs, exits, head_share)
    assert chosen in sets

    def value(some: list[Candidate]) -> float:
        return worth(distribution, some, last, costs) - least_gain * len(some)

    assert value(chosen) == pytest.approx(max(map(value, sets)), abs=1e-12)


def test_an_exit_stands_where_the_budgets_are() -> None:
    """Nine of ten budgets end below half of the cost: only the cheap exit answers them."""
    offered = [candidate(0, 2.0, 1.0, 0.35), candidate(1, 50.0, 1.0, 0.6), candidate(2, 80.0, 1.0, 0.69)]
    chosen = best_set(Empirical([5.0] * 9 + [60.0]), offered, 0.7, Costs(LAST), exits=2, head_share=1.0)
    assert [each.name for each in chosen] == ['point 0']
    late = best_set(Empirical([5.0] + [60.0] * 9), offered, 0.7, Costs(LAST), exits=2, head_share=1.0)
    assert [each.name for each in late] == ['point 1']


def test_overhead_and_heads_on_the_way_decide_what_fits() -> None:
    cheap, dear = candidate(0, 2.0, 4.0, 0.35), candidate(1, 50.0, 4.0, 0.6)
    budgets = Empirical([6.0, 55.0, 55.0])
    assert best_set(budgets, [cheap, dear], 0.7, Costs(LAST), exits=3, head_share=1.0) == [cheap, dear]
    assert best_set(budgets, [cheap, dear], 0.7, Costs(LAST, 0.5), exits=3, head_share=1.0) == [dear]
    # Beside the cheap exit's head the dear one comes too late for a budget of 55.
    both = best_set(budgets, [cheap, dear], 0.7, Costs(LAST, 0.0, True), exits=3, head_share=1.0)
    assert both == [dear]


def test_an_exit_that_hardly_pays_is_left_out() -> None:
    offered = [candidate(0, 20.0, 1.0, 0.5), candidate(1, 22.0, 1.0, 0.5005)]
    chosen = best_set(Uniform(0.0, 120.0), offered, 0.9, Costs(LAST), exits=5, head_share=1.0)
    assert [each.position for each in chosen] == [0]
