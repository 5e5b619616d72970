"""training.recorded.ladders: the best sets of paths, against trying all of them."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.budgets import Empirical, Uniform
from training.recorded.ladders import additions, best_ladders, between, smallest_sufficient
from training.risk.expected_accuracy import chosen_share, expected_accuracy

PATHS = st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.01, 1)), min_size=1, max_size=6)
BUDGETS = st.lists(st.floats(0, 12), min_size=1, max_size=30).map(Empirical)


def worth(distribution: Empirical | Uniform, costs: list[float], accuracies: list[float]) -> float:
    return expected_accuracy(chosen_share(distribution, costs, accuracies), accuracies)


@given(BUDGETS, PATHS)
def test_no_subset_is_worth_more_than_the_best_ladder_of_its_length(
    distribution: Empirical, paths: list[tuple[float, float]]
) -> None:
    costs, accuracies = (list(column) for column in zip(*paths, strict=True))
    ladders = best_ladders(distribution, costs, accuracies)
    for number, ladder in enumerate(ladders, start=1):
        own = [costs[k] for k in ladder.paths], [accuracies[k] for k in ladder.paths]
        assert len(ladder.paths) == number
        assert worth(distribution, *own) == pytest.approx(ladder.worth)
        for subset in combinations(range(len(paths)), number):
            some = [costs[k] for k in subset], [accuracies[k] for k in subset]
            assert worth(distribution, *some) <= ladder.worth + 1e-9
    assert ladders[-1].worth == pytest.approx(worth(distribution, costs, accuracies))


def test_paths_that_replace_each_other_are_not_both_dropped() -> None:
    # One at a time, the second and the third seem to be of no use, since each stands in for the other.
    costs, accuracies = [1.0, 2.0, 2.01, 4.0], [0.3, 0.6, 0.6001, 0.7]
    ladders = best_ladders(Uniform(0, 5), costs, accuracies)
    kept = smallest_sufficient(ladders)
    assert len(kept.paths) == 3
    assert kept.paths in ((0, 1, 3), (0, 2, 3))


@given(BUDGETS, PATHS, st.floats(0, 0.3))
def test_what_one_more_path_gains_is_what_the_planner_would_make_of_it(
    distribution: Empirical, paths: list[tuple[float, float]], chance: float
) -> None:
    costs, accuracies = (list(column) for column in zip(*paths, strict=True))
    before = worth(distribution, costs, accuracies)
    for each in additions(distribution, costs, accuracies, chance):
        after = worth(distribution, [*costs, each.cost], [*accuracies, each.accuracy])
        ascending = each.accuracy < accuracies[each.before]
        assert not ascending or after - before == pytest.approx(each.gain, abs=1e-9)


def test_the_gap_where_the_budgets_are_is_the_one_that_pays() -> None:
    budgets = Empirical([2.9] * 10 + [4.5])
    best, *others = additions(budgets, [1.0, 4.0], [0.3, 0.7])
    assert (best.after, best.before) == (0, 1)
    assert 2.5 < best.cost <= 2.9
    assert best.gain == pytest.approx((best.accuracy - 0.3) * 10 / 11)
    assert all(each.gain < best.gain for each in others)


def test_accuracies_between_are_interpolated_and_never_below_chance() -> None:
    found = between([1.0, 4.0], [0.3, 0.7], chance=0.1)
    middle = min(found, key=lambda each: abs(each[0] - 2.0))
    assert middle[1] == pytest.approx(0.3 + 0.4 * 0.5, abs=0.03)
    assert all(0.1 <= accuracy < 0.7 for _, accuracy, _, _ in found)
    assert all(cost < 1.0 for cost, _, after, _ in found if after is None)
