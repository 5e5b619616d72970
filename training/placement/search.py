"""Of all exits that might be, the set with the highest expected accuracy.

A candidate is a cut point with a head of some size. A set has one candidate per cut point at most, of which
deeper ones cost more; the classifier's own exit always belongs to it. Its worth is the expected accuracy by
the planner's rule: E_b[accuracy of the best exit that fits budget b].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from impatient_ros.budgets import BudgetDistribution
from training.risk.expected_accuracy import chosen_share, expected_accuracy

__all__ = ['LEAST_GAIN', 'Candidate', 'Costs', 'best_set', 'worth']

# An exit that is worth less is left out: 0.1 points, from which on `training.budgets` says that an exit pays.
LEAST_GAIN = 0.001


@dataclass(frozen=True)
class Candidate:
    """An exit that might be.

    Attributes:
        name: of the cut point.
        position: of the cut point among all that are offered.
        share: what its head may cost, in parts of the backbone's MACs.
        backbone, head: costs up to the cut point, and of the head, MACs or s.
        accuracy: estimated, 0..1.
        head_share: what its head does cost, in parts of the backbone's MACs.
    """

    name: str
    position: int
    share: float
    backbone: float
    head: float
    head_share: float
    accuracy: float


@dataclass(frozen=True)
class Costs:
    """How costs of exits add up: `last` is that of the classifier's own exit, MACs or s; `overhead` (s) comes
    with every answer; in `interruptible` mode an answer has taken all heads on the way, too.
    """

    last: float
    overhead: float = 0.0
    interruptible: bool = False

    def of(self, chosen: Sequence[Candidate]) -> list[float]:
        """The costs of these exits, which ascend, and of the last one, [len(chosen) + 1]."""
        heads, costs = 0.0, []
        for each in chosen:
            costs.append(each.backbone + heads + each.head + self.overhead)
            heads += each.head if self.interruptible else 0.0
        return [*costs, self.last + heads + self.overhead]


def worth(
    distribution: BudgetDistribution, chosen: Sequence[Candidate], last_accuracy: float, costs: Costs
) -> float:
    """The expected accuracy of a network with these exits (ascending) and its own."""
    accuracies = [*(each.accuracy for each in chosen), last_accuracy]
    return expected_accuracy(chosen_share(distribution, costs.of(chosen), accuracies), accuracies)


@dataclass(frozen=True)
class _Set:
    """The beginning of a set, up to its deepest candidate so far; `worth` is without the last exit."""

    worth: float
    heads: float  # cost of all its heads
    share: float  # the same in parts of the backbone's MACs
    cost: float  # of its deepest exit
    chosen: tuple[Candidate, ...]

    def as_good_as(self, other: _Set) -> bool:
        """Whether whatever may follow `other` may follow this one, for no less."""
        return (
            self.worth >= other.worth
            and self.heads <= other.heads
            and self.share <= other.share
            and self.cost <= other.cost
            and len(self.chosen) <= len(other.chosen)
        )


def best_set(
    distribution: BudgetDistribution,
    candidates: Sequence[Candidate],
    last_accuracy: float,
    costs: Costs,
    *,
    exits: int,
    head_share: float,
    least_gain: float = LEAST_GAIN,
) -> list[Candidate]:
    """The exits beside the last one, ascending: at most `exits` - 1, their heads together at most
    `head_share` of the backbone's MACs, of the highest worth less `least_gain` for each exit.

    Exact, by dynamic programming. An exit that is not more accurate than a cheaper one of its set is never
    chosen by the planner's rule, so that leaving it out loses nothing: sets in which costs and accuracies
    ascend suffice. Their worth is a sum over their exits, sum_k (a_k - a_(k-1)) P(b >= c_k), of which no term
    depends on what follows. Sets with the same deepest candidate therefore compare by what they are worth and
    what they leave for others (heads' cost and share, number of exits), and only undominated ones are kept.
    """

    def reached(cost: float) -> float:
        return 1.0 - distribution.below(cost)

    def finished(each: _Set) -> float:
        accuracy = each.chosen[-1].accuracy if each.chosen else 0.0
        last = costs.last + costs.overhead + (each.heads if costs.interruptible else 0.0)
        if last <= each.cost:
            return float('-inf')
        return each.worth + max(0.0, last_accuracy - accuracy) * reached(last)

    nothing = _Set(0.0, 0.0, 0.0, 0.0, ())
    ending: list[list[_Set]] = []  # per candidate, in order of position
    ordered = sorted(candidates, key=lambda each: each.position)
    for candidate in ordered:
        found: list[_Set] = []
        before = [
            each
            for other, sets in zip(ordered, ending, strict=False)
            if other.position < candidate.position and other.accuracy < candidate.accuracy
            for each in sets
        ]
        for each in (nothing, *before):
            on_the_way = each.heads if costs.interruptible else 0.0
            cost = candidate.backbone + on_the_way + candidate.head + costs.overhead
            share = each.share + candidate.head_share
            if len(each.chosen) + 1 >= exits or share > head_share or cost <= each.cost:
                continue
            accuracy = each.chosen[-1].accuracy if each.chosen else 0.0
            gain = (candidate.accuracy - accuracy) * reached(cost) - least_gain
            grown = _Set(
                each.worth + gain, each.heads + candidate.head, share, cost, (*each.chosen, candidate)
            )
            if not any(other.as_good_as(grown) for other in found):
                found = [other for other in found if not grown.as_good_as(other)] + [grown]
        ending.append(found)
    return list(max((nothing, *(each for sets in ending for each in sets)), key=finished).chosen)
