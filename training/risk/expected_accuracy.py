"""What a network's exits are worth under a budget distribution: expected accuracy by the planner's rule.

The rule: of the exits whose cost fits the budget, the one of highest validation accuracy answers. A budget
below every cost gets no answer, which counts as wrong.
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

__all__ = ['best_single_exit', 'chosen_share', 'distribution_of', 'expected_accuracy']


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
    return distribution_from_dict(values), about.get('unit') if isinstance(about, dict) else None


def chosen_share(
    distribution: BudgetDistribution, costs: Sequence[float], accuracies: Sequence[float]
) -> np.ndarray:
    """How often each exit answers, [T + 1]: [0] is "no answer", then exits 1..T; sums to 1.

    These are the `exit_weights` of the exits that the rule ever chooses; the others' share is 0. `costs` need
    not increase: an exit that costs more than a more accurate one is never chosen. Raises ValueError.
    """
    if len(costs) == 0 or len(accuracies) != len(costs):
        raise ValueError(f'{len(costs)} costs and {len(accuracies)} accuracies: write one of each per exit')
    if not all(math.isfinite(c) and c > 0 for c in costs):
        raise ValueError(f'costs must be finite and greater than 0, got {list(costs)}')
    chosen = _undominated(costs, accuracies)
    share = np.zeros(len(costs) + 1)
    share[[0, *(t + 1 for t in chosen)]] = exit_weights(distribution, [costs[t] for t in chosen])
    return share


def _undominated(costs: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """The exits that are more accurate than every cheaper one, by ascending cost; of equals the first."""
    found: list[int] = []
    for t in sorted(range(len(costs)), key=lambda t: (costs[t], -accuracies[t])):
        if not found or accuracies[t] > accuracies[found[-1]]:
            found.append(t)
    return found


def expected_accuracy(share: Sequence[float] | np.ndarray, accuracies: Sequence[float]) -> float:
    """Accuracy over pictures and budgets from `chosen_share` and the accuracies to count."""
    return float(np.dot(np.asarray(share)[1:], accuracies))


def best_single_exit(
    distribution: BudgetDistribution, costs: Sequence[float], accuracies: Sequence[float]
) -> tuple[float, int]:
    """The most that one exit, always the same, achieves, and which (0-based)."""
    values = [(1 - distribution.below(c)) * a for c, a in zip(costs, accuracies, strict=True)]
    best = int(np.argmax(values))
    return values[best], best
