"""The one search over sets of paths that makes all plans."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from impatient_ros.planning.error_window import HICCUP_RATE
from impatient_ros.planning.forecast import Forecast
from impatient_ros.planning.overrun_control import OverrunControl
from impatient_ros.planning.path_sets import Candidates

__all__ = ['WORTH', 'Search']

# Expected accuracy that a set must add to be taken instead of another one. A tenth of a point is less than
# forecasts know, and many sets need not be looked at then.
WORTH = 1e-3
ROUNDING = 1e-12  # what sums of gains may differ by


class Search:
    """The search for the best set of paths, for one decision.

    Args:
        forecast, control: of the machine and of the camera.
        budget, slowdown, preparation: as of `Planner.plan`.
    """

    __slots__ = (
        '_answered', '_budget', '_chances', '_decision_cost', '_errors', '_factors', '_margins',
        '_preparation', '_slowdown', '_starting', '_walk',
    )  # fmt: skip

    def __init__(
        self,
        candidates: Candidates,
        forecast: Forecast,
        control: OverrunControl,
        budget: float,
        slowdown: float,
        preparation: Sequence[float],
    ) -> None:
        self._answered, self._starting = candidates.answered, candidates.starting
        walk = self._walk = candidates.walk
        self._budget, self._slowdown, self._preparation = budget, slowdown, preparation
        self._errors, self._margins = forecast.errors, control.margins()
        decision_cost = self._decision_cost = forecast.decision_cost
        left = [budget - seconds for seconds in preparation]
        left.append(budget)  # -1: nothing has to be prepared
        # How many times the forecast of each path alone there is time for.
        self._factors = [
            left[prepares] / (slowdown * (cost + decisions * decision_cost))
            for _, cost, decisions, prepares in walk.alone
        ]
        # P(in time) of each completion, as far as it was asked for; most never are.
        unknown = 1.0 if budget == math.inf else None
        self._chances: list[float | None] = [unknown] * len(walk.completions)

    def protected(self, index: int) -> bool:
        """Whether a path alone is in time at the accepted miss rate; by the index of its completion."""
        return self._margins[self._walk.alone[index][0]] <= self._factors[index]

    def best(
        self, min_chance: float, *, protected: bool = False, less_likely: float = 1.0
    ) -> tuple[int, ...]:
        """The paths of the set that adds most to the expected accuracy, if any; after an answer it must add
        something.

        Args:
            protected: whether sets must begin with a path that is protected.
            less_likely: by how much the path that a set begins with may be less likely than the likeliest;
                where it says anything (below 1), nothing needs to be protected.
        """
        walk, answered, margins = self._walk, self._answered, self._margins
        factors, chances, chance_of = self._factors, self._chances, self._chance_alone
        # Which paths no set may begin with.
        if less_likely < 1:
            likelihoods = [chance_of(index) for index in range(len(walk.alone))]
            enough = max([likelihoods[index] for index in self._starting]) - less_likely
            shut = [chance < enough for chance in likelihoods]
        else:
            shut = [
                protected and margins[depth] > factor
                for (depth, _, _, _), factor in zip(walk.alone, factors)  # noqa: B905
            ]
        best: tuple[int, ...] = ()
        best_value = WORTH if answered else -math.inf
        least = min_chance if answered else 0.0  # after an answer, single paths are optional, too
        for max_gain, index, paths in walk.singles:
            if max_gain <= best_value:
                break  # nor do those after it add more
            if shut[index]:
                continue
            chance = chances[index]
            if chance is None:
                chance = chance_of(index)
            value = chance * max_gain
            if value > best_value and chance >= least and (protected or chance):
                best, best_value = paths, value + WORTH
        for most, last, most_first, group in walk.groups:
            if most <= best_value:
                break
            # All paths of a set take at least what its last one takes alone, and chances of paths alone are
            # shared by many sets: most of them fall by these before anything else of them is looked up.
            upper = chances[last]
            if upper is None:
                upper = chance_of(last)
            if upper < min_chance or upper * most + (1 - upper) * most_first <= best_value - ROUNDING:
                continue
            for first, first_gain, rest, others in group:
                if shut[first]:
                    continue
                certain = chances[first]
                if certain is None:
                    certain = chance_of(first)
                value = certain * first_gain
                if value + (upper if upper < certain else certain) * rest <= best_value:
                    continue
                max_gain, more, paths = others
                if max_gain <= best_value:
                    continue
                for completion, accuracy in more:
                    chance = chances[completion]
                    if chance is None:
                        chance = self._chance(completion)
                    if chance < certain:
                        certain = chance  # a path is done only if those before it are
                    value += certain * accuracy
                if value > best_value and certain >= min_chance and (protected or chances[first]):
                    best, best_value = paths, value + WORTH
        return best

    def _chance_alone(self, index: int) -> float:
        """P(in time) of a path alone, as `ErrorWindow.chance`."""
        window, factor = self._errors[self._walk.alone[index][0]], self._factors[index]
        share = window.shares[bisect_right(window.factors, factor)]
        chance = self._chances[index] = share * (1 - (HICCUP_RATE / factor if factor > 1 else HICCUP_RATE))
        return chance

    def _chance(self, index: int) -> float:
        """P(in time) of any completion, as `ErrorWindow.chance`."""
        depth, cost, decisions, prepares = self._walk.completions[index]
        window, left, preparation = self._errors[depth], self._budget, self._preparation
        for r in prepares:
            left -= preparation[r]
        factor = left / (self._slowdown * (cost + decisions * self._decision_cost))
        share = window.shares[bisect_right(window.factors, factor)]
        chance = self._chances[index] = share * (1 - (HICCUP_RATE / factor if factor > 1 else HICCUP_RATE))
        return chance
