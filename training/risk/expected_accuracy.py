"""What a network's paths are worth under a budget distribution: expected accuracy by the planner's rule.

The rule: of the paths (exits at resolutions) whose cost fits the budget, the one of highest validation
accuracy answers. A budget below every cost gets no answer, which counts as wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from impatient_ros.budgets import (
    NAMED_DISTRIBUTIONS,
    BudgetDistribution,
    distribution_from_dict,
    exit_weights,
    named_distribution,
)
from impatient_ros.planning.options import undominated
from training.risk.costs import increasing
from training.risk.loaded_budgets import KIND, LoadedBudgets

__all__ = [
    'best_single_exit',
    'chosen_share',
    'distribution_of',
    'expected_accuracy',
    'expected_on_halves',
    'plain_share',
]


def distribution_of(name: str, last_cost: float) -> tuple[BudgetDistribution, str | None]:
    """The distribution `name`, scaled to the last exit's cost, or that of a YAML file.

    Returns it and the unit that the file says it has ('s' where training.budgets wrote it), or None: that of
    the costs. Raises ValueError, OSError.
    """
    if name in NAMED_DISTRIBUTIONS:
        return named_distribution(name, last_cost), None
    if not name.endswith(('.yaml', '.yml')):
        raise ValueError(
            f'budgets: {name!r} is neither a distribution ({", ".join(NAMED_DISTRIBUTIONS)}) nor a .yaml file'
        )
    try:
        values = yaml.safe_load(Path(name).read_text(encoding='utf-8'))
    except yaml.YAMLError as error:
        raise ValueError(f'budgets: {name} is no YAML: {error}') from error
    if not isinstance(values, dict):
        raise ValueError(f'budgets: {name} does not describe a distribution; see training/README.md')
    about = values.pop('about', None)
    read = LoadedBudgets.from_dict if values.get('distribution') == KIND else distribution_from_dict
    return read(values), about.get('unit') if isinstance(about, dict) else None


def chosen_share(
    distribution: BudgetDistribution, costs: Sequence[float], accuracies: Sequence[float]
) -> np.ndarray:
    """How often each of K paths answers, [K + 1]: [0] is "no answer", then the paths; sums to 1.

    Paths are the exits, at one resolution or at several, in any order. These are the `exit_weights` of those
    that the rule ever chooses; the others' share is 0. `costs` need not increase: a path that costs more than
    a more accurate one is never chosen. Raises ValueError.
    """
    if len(costs) == 0 or len(accuracies) != len(costs):
        raise ValueError(f'{len(costs)} costs and {len(accuracies)} accuracies: write one of each per path')
    if not all(math.isfinite(c) and c > 0 for c in costs):
        raise ValueError(f'costs must be finite and greater than 0, got {list(costs)}')
    chosen = sorted(undominated(costs, accuracies), key=costs.__getitem__)
    share = np.zeros(len(costs) + 1)
    share[[0, *(k + 1 for k in chosen)]] = exit_weights(distribution, [costs[k] for k in chosen])
    return share


def plain_share(distribution: BudgetDistribution, costs: Sequence[float], exits: int) -> np.ndarray:
    """How often each path answers, [K + 1], where nothing is known of accuracies: the dearest one that fits.

    `costs` are those of `exits` exits at one resolution after the other. Raises ValueError.
    """
    never_falling = [
        c for start in range(0, len(costs), exits) for c in increasing(costs[start : start + exits])
    ]
    order = sorted(range(len(costs)), key=lambda k: (never_falling[k], k))
    rank = {k: float(position) for position, k in enumerate(order)}
    return chosen_share(distribution, never_falling, [rank[k] for k in range(len(costs))])


def expected_accuracy(share: Sequence[float] | np.ndarray, accuracies: Sequence[float]) -> float:
    """Accuracy over pictures and budgets from `chosen_share` and the accuracies to count."""
    return float(np.dot(np.asarray(share)[1:], accuracies))


def expected_on_halves(distribution: BudgetDistribution, costs: Sequence[float], right: np.ndarray) -> float:
    """Where the rule chooses by the accuracies of one half of the pictures and counts on the other one.

    Args:
        right: which answers are right, bool [K, N]. Every second picture is a half, since splits are sorted
            by class; a single picture is both.
    """
    if right.shape[1] == 1:
        right = right.repeat(2, axis=1)
    value = 0.0
    for half in (0, 1):
        chosen_by, counted = right[:, 1 - half :: 2], right[:, half::2]
        share = chosen_share(distribution, costs, chosen_by.mean(1).tolist())
        value += counted.shape[1] / right.shape[1] * expected_accuracy(share, counted.mean(1))
    return value


def best_single_exit(
    distribution: BudgetDistribution, costs: Sequence[float], accuracies: Sequence[float]
) -> tuple[float, int]:
    """The most that one exit, always the same, achieves, and which (0-based)."""
    values = [(1 - distribution.below(c)) * a for c, a in zip(costs, accuracies, strict=True)]
    best = int(np.argmax(values))
    return values[best], best
