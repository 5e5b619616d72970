"""training.risk.loaded_budgets: what overhead and slowdown leave of budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.budgets import Empirical
from training.risk.expected_accuracy import chosen_share, distribution_of
from training.risk.loaded_budgets import LoadedBudgets

BUDGETS = st.lists(st.floats(0, 1), min_size=1, max_size=40)
COSTS = st.lists(st.floats(0.001, 1), min_size=1, max_size=6, unique=True)
FRAMES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.2), st.floats(0.2, 9)), min_size=1, max_size=40)


@given(BUDGETS, COSTS)
def test_without_overhead_and_slowdown_shares_are_those_of_the_budgets(
    budgets: list[float], costs: list[float]
) -> None:
    loaded = LoadedBudgets(budgets, [0.0] * len(budgets), [1.0] * len(budgets))
    accuracies = sorted(costs)
    np.testing.assert_array_equal(
        chosen_share(loaded, sorted(costs), accuracies),
        chosen_share(Empirical(budgets), sorted(costs), accuracies),
    )


@given(FRAMES, COSTS, st.floats(0, 1))
def test_shares_sum_to_one_and_the_lost_have_no_answer(
    frames: list[tuple[float, float, float]], costs: list[float], lost: float
) -> None:
    share = chosen_share(LoadedBudgets(*zip(*frames, strict=True), lost), sorted(costs), sorted(costs))
    assert share.sum() == pytest.approx(1)
    assert (share >= -1e-12).all()
    assert share[0] >= lost - 1e-12


@given(FRAMES, st.floats(0.001, 1))
def test_a_path_fits_where_its_slowed_cost_and_the_overhead_do(
    frames: list[tuple[float, float, float]], cost: float
) -> None:
    fits = np.mean([(b - o) / s >= cost for b, o, s in frames])
    assert 1 - LoadedBudgets(*zip(*frames, strict=True)).below(cost) == pytest.approx(fits)


@given(FRAMES, st.floats(0, 0.9), st.floats(0.01, 1))
def test_the_quantile_inverts_the_cdf(
    frames: list[tuple[float, float, float]], lost: float, probability: float
) -> None:
    loaded = LoadedBudgets(*zip(*frames, strict=True), lost)
    assert loaded.cdf(loaded.quantile(probability)) >= probability - 1e-9


def test_more_load_never_answers_from_a_dearer_path() -> None:
    budgets = np.linspace(0, 0.1, 200)
    shares = [
        1 - LoadedBudgets(budgets, np.full(200, overhead), np.full(200, slowdown)).below(0.03)
        for overhead, slowdown in ((0, 1), (0.01, 1), (0.01, 2), (0.01, 3))
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares == pytest.approx([0.7, 0.6, 0.3, 0.0], abs=0.01)


def test_a_file_brings_back_the_same_shares(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    loaded = LoadedBudgets(
        random.gamma(2, 0.02, 30_000), random.gamma(2, 0.001, 30_000), [1.5] * 30_000, 0.02
    )
    few = loaded.thinned(1000)
    assert len(few.budgets) == 1000
    file = tmp_path / 'robot.yaml'
    file.write_text(yaml.safe_dump({'about': {'unit': 's'}, **few.to_dict()}))
    found, unit = distribution_of(str(file), 1.0)
    assert unit == 's'
    costs = (0.004, 0.01, 0.02)
    np.testing.assert_allclose(
        chosen_share(found, costs, costs), chosen_share(loaded, costs, costs), atol=2e-3
    )


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'overheads': [0.0]}, 'as many'),
        ({'slowdowns': [1.0, 0.0]}, 'greater than 0'),
        ({'overheads': [0.0, -1.0]}, 'at least 0'),
        ({'lost': 1.5}, 'between 0 and 1'),
        ({'lost': 'some'}, 'numbers'),
        ({'budgets': [0.1, float('nan')]}, 'finite'),
        ({'tips': 3}, 'cannot be made'),
    ],
)
def test_what_is_no_such_distribution_is_refused(values: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {'budgets': [0.1, 0.2], 'overheads': [0.0, 0.0], 'slowdowns': [1.0, 1.0]}
    with pytest.raises(ValueError, match=message):
        LoadedBudgets.from_dict({'distribution': 'loaded', **good, **values})
