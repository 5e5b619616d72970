"""training.risk.expected_accuracy: which exit answers how often, and what that is worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.budgets import Empirical, Uniform, exit_weights, named_distribution
from training.risk.expected_accuracy import (
    best_single_exit,
    chosen_share,
    distribution_of,
    expected_accuracy,
    expected_on_halves,
    plain_share,
)

EXITS = st.lists(st.tuples(st.floats(0.1, 10), st.floats(0, 1)), min_size=1, max_size=6)


@given(EXITS, st.sampled_from(['uniform', 'normal', 'early', 'late', 'bimodal']))
def test_shares_are_those_of_planning_budget_by_budget(exits: list[tuple[float, float]], name: str) -> None:
    costs, accuracies = zip(*exits, strict=True)
    distribution = named_distribution(name, max(costs))
    share = chosen_share(distribution, costs, accuracies)
    assert share.sum() == pytest.approx(1)
    budgets = distribution.sample(2000)
    counted = 0.0
    for budget in budgets:
        feasible = [t for t in range(len(costs)) if costs[t] <= budget]
        counted += max((accuracies[t] for t in feasible), default=0.0) / len(budgets)
    assert expected_accuracy(share, accuracies) == pytest.approx(counted, abs=0.06)


def test_where_deeper_is_dearer_and_better_the_shares_are_the_exit_weights() -> None:
    costs = (1.0, 2.0, 5.0)
    for distribution in (Uniform(0, 6), Empirical([1.0, 1.0, 2.0, 4.9, 7.0])):
        np.testing.assert_allclose(
            chosen_share(distribution, costs, (0.5, 0.6, 0.7)), exit_weights(distribution, costs)
        )


def test_an_exit_that_is_worse_than_an_earlier_one_is_not_chosen() -> None:
    share = chosen_share(Uniform(0, 4), (1.0, 2.0, 3.0), (0.6, 0.5, 0.7))
    assert share.tolist() == pytest.approx([0.25, 0.5, 0.0, 0.25])


def test_paths_may_come_in_any_order_of_their_costs() -> None:
    share = chosen_share(Uniform(0, 4), (2.0, 3.0, 1.0), (0.6, 0.7, 0.5))
    assert share.tolist() == pytest.approx([0.25, 0.25, 0.25, 0.25])


def test_where_nothing_is_known_of_accuracies_the_dearest_path_that_fits_answers() -> None:
    # Two exits at each of two resolutions: the last one at the smaller costs more than the first one of all.
    share = plain_share(Uniform(0, 4), (0.5, 2.0, 1.0, 4.0), 2)
    assert share.tolist() == pytest.approx([0.125, 0.125, 0.5, 0.25, 0.0])
    # An exit that is measured cheaper than one before it stands for both.
    assert plain_share(Uniform(0, 4), (2.0, 1.0), 2).tolist() == pytest.approx([0.5, 0.0, 0.5])


def test_what_is_counted_may_differ_from_what_is_chosen_by() -> None:
    share = chosen_share(Uniform(0, 4), (1.0, 2.0), (0.5, 0.9))
    assert expected_accuracy(share, (0.4, 0.8)) == pytest.approx(0.25 * 0.4 + 0.5 * 0.8)


def test_the_best_single_exit_weighs_accuracy_against_being_late() -> None:
    value, exit_index = best_single_exit(Uniform(0, 4), (1.0, 3.0), (0.6, 0.9))
    assert (value, exit_index) == (pytest.approx(0.45), 0)


@pytest.mark.parametrize(
    ('costs', 'accuracies'), [((), ()), ((1.0,), ()), ((0.0,), (0.5,)), ((np.nan,), (0.5,))]
)
def test_what_are_no_costs_is_refused(costs: tuple[float, ...], accuracies: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match='costs'):
        chosen_share(Uniform(0, 1), costs, accuracies)


def test_a_file_of_budgets_may_say_where_it_comes_from_and_its_unit(tmp_path: Path) -> None:
    file = tmp_path / 'robot.yaml'
    file.write_text('about: {bag: drive, unit: s}\ndistribution: empirical\nsamples: [0.1, 0.2]\n')
    assert distribution_of(str(file), 5.0) == (Empirical([0.1, 0.2]), 's')
    assert distribution_of('uniform', 5.0) == (Uniform(0, 6.0), None)


@pytest.mark.parametrize('text', ['- 1\n', 'distribution: gauss\n', '{\n'])
def test_a_file_that_is_no_distribution_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / 'robot.yaml'
    file.write_text(text)
    with pytest.raises(ValueError, match=r'budgets|distribution'):
        distribution_of(str(file), 1.0)


def test_what_one_half_chooses_the_other_half_counts() -> None:
    """Even pictures say that the first path is the best one, odd ones the second; both cost the same."""
    right = np.array([[1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 1, 1]], bool)
    always = Empirical([5.0])
    # Even pictures choose path 1 (3 of 3), right on none of the odd ones; odd ones path 2 (3 of 3), right
    # on one of the three even ones.
    assert expected_on_halves(always, [1.0, 2.0], right) == pytest.approx((0 + 1) / 6)
    assert expected_on_halves(always, [1.0, 2.0], right[:, :1]) == 1.0
    # Halves of unequal size count by their pictures.
    assert expected_on_halves(always, [1.0], np.array([[1, 0, 1]], bool)) == pytest.approx(2 / 3)


def test_choosing_on_halves_gains_nothing_by_chance() -> None:
    """Forty paths that are all right on half of the pictures: the best of them seems better, and is not."""
    right = np.random.default_rng(0).random((40, 200)) < 0.5
    costs, distribution = np.linspace(1, 1.1, 40).tolist(), Empirical([2.0])
    measured = right.mean(1)
    share = chosen_share(distribution, costs, measured.tolist())
    assert expected_accuracy(share, measured) > 0.56
    assert expected_on_halves(distribution, costs, right) == pytest.approx(0.5, abs=0.04)


@given(EXITS, st.sampled_from(['uniform', 'early', 'late']))
def test_where_the_halves_agree_they_say_what_all_say(exits: list[tuple[float, float]], name: str) -> None:
    costs = [cost for cost, _ in exits]
    right = np.random.default_rng(1).random((len(costs), 25)) < [[accuracy] for _, accuracy in exits]
    distribution = named_distribution(name, max(costs))
    share = chosen_share(distribution, costs, right.mean(1).tolist())
    twice = right.repeat(2, axis=1)
    assert expected_on_halves(distribution, costs, twice) == pytest.approx(
        expected_accuracy(share, right.mean(1))
    )
