"""Which paths a robot's budgets call for: all of those that it has, fewer, others, one more.

Everything is worked out jointly. A *ladder* is a set of paths of ascending cost and accuracy; it is worth

    sum_i a_i (P(c_i <= b) - P(c_{i+1} <= b)),

its expected accuracy by the planner's rule. Since a path's term depends on the next one alone, the best
ladder of every length is found exactly by dynamic programming, without trying the 2^K subsets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from impatient_ros.budgets import BudgetDistribution
from impatient_ros.planning.options import undominated

__all__ = ['Addition', 'Ladder', 'additions', 'best_ladders', 'between', 'smallest_sufficient']

STEPS = 12  # candidates within a gap. Chosen, not measured
CHEAPEST = 0.25  # of the cheapest path: how far below it one more is looked for. Chosen, not measured


@dataclass(frozen=True)
class Ladder:
    """Paths by number, ascending in cost, and the expected accuracy with them alone."""

    paths: tuple[int, ...]
    worth: float


@dataclass(frozen=True)
class Addition:
    """One more path: its cost (s), the accuracy that is assumed, what it adds to the expected accuracy, and
    the numbers of the paths that it lies between (None: below all).
    """

    cost: float
    accuracy: float
    gain: float
    after: int | None
    before: int


def best_ladders(
    distribution: BudgetDistribution, costs: Sequence[float], accuracies: Sequence[float]
) -> tuple[Ladder, ...]:
    """The best ladder of one path, of two, and so on up to the most that could be of use."""
    order = sorted(undominated(costs, accuracies), key=costs.__getitem__)
    reach = np.array([1 - distribution.below(costs[k]) for k in order])
    a = np.array([accuracies[k] for k in order])
    # Terms of path i when l follows [K, K]; what does not ascend is no ladder.
    terms = np.where(
        np.triu(np.ones((len(a), len(a))), 1) > 0, a[:, None] * (reach[:, None] - reach), -np.inf
    )
    worth = a * reach
    following: list[np.ndarray] = []
    found: list[Ladder] = []
    for _ in order:
        path = int(worth.argmax())
        if not math.isfinite(worth[path]):
            break
        total, members = float(worth[path]), [path]
        for step in reversed(following):
            members.append(int(step[members[-1]]))
        found.append(Ladder(tuple(order[i] for i in members), total))
        longer = terms + worth
        following.append(longer.argmax(1))
        worth = longer.max(1)
    return tuple(found)


def smallest_sufficient(ladders: Sequence[Ladder], loss: float = 1e-3) -> Ladder:
    """The shortest one that loses no more than that much expected accuracy against the best."""
    best = max(ladder.worth for ladder in ladders)
    return next(ladder for ladder in ladders if ladder.worth >= best - loss)


def between(
    costs: Sequence[float], accuracies: Sequence[float], chance: float
) -> list[tuple[float, float, int | None, int]]:
    """Paths that a network could have: (cost, accuracy, the path before or None, the path after).

    Accuracies are interpolated, linearly in the logarithm of the cost, between neighbours that are not
    dominated; below the cheapest one from the line through the first two, and never under `chance`.
    """
    order = sorted(undominated(costs, accuracies), key=costs.__getitem__)
    logs, a = np.log([costs[k] for k in order]), np.array([accuracies[k] for k in order])
    places = (np.arange(STEPS) + 1) / (STEPS + 1)
    found: list[tuple[float, float, int | None, int]] = []
    if len(order) > 1:
        slope = (a[1] - a[0]) / (logs[1] - logs[0])
        for place in places:
            below = (1 - place) * math.log(CHEAPEST)
            found.append((math.exp(logs[0] + below), max(chance, a[0] + slope * below), None, order[0]))
    for i in range(len(order) - 1):
        for place in places:
            log_cost, accuracy = (
                (1 - place) * logs[i] + place * logs[i + 1],
                (1 - place) * a[i] + place * a[i + 1],
            )
            found.append((math.exp(log_cost), float(accuracy), order[i], order[i + 1]))
    return found


def additions(
    distribution: BudgetDistribution,
    costs: Sequence[float],
    accuracies: Sequence[float],
    chance: float = 0.0,
) -> tuple[Addition, ...]:
    """For every gap between paths, and below the cheapest, where one more would gain most; best first."""
    best: dict[int | None, Addition] = {}
    for cost, accuracy, after, before in between(costs, accuracies, chance):
        # Only what lies between its neighbours goes to it, from the one before (or from nobody).
        share = distribution.below(costs[before]) - distribution.below(cost)
        gain = share * (accuracy - (0.0 if after is None else accuracies[after]))
        if after not in best or gain > best[after].gain:
            best[after] = Addition(cost, accuracy, max(0.0, gain), after, before)
    return tuple(sorted(best.values(), key=lambda each: -each.gain))
