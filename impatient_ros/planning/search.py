"""The one search over sets of paths that makes all plans."""

from __future__ import annotations

import math
from collections.abc import Sequence

from impatient_ros.planning.forecast import Forecast
from impatient_ros.planning.overrun_control import OverrunControl
from impatient_ros.planning.path_sets import Candidates

__all__ = ['WORTH', 'Search']

# Expected accuracy that a set must add to be taken instead of another one. A tenth of a point is less than
# forecasts know, and many sets need not be looked at then.
WORTH = 1e-3


class Search:
    """The search for the best set of paths, for one decision.

    Args:
        forecast, control: of the machine and of the camera.
        budget, slowdown, preparation: as of `Planner.plan`.
    """

    __slots__ = (
        '_budget', '_candidates', '_chances', '_completions', '_decision_cost', '_errors', '_factors',
        '_margins', '_preparation', '_slowdown',
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
        self._candidates = candidates
        self._completions = candidates.completions
        self._budget, self._slowdown, self._preparation = budget, slowdown, preparation
        self._errors, self._margins = forecast.errors, control.margins()
        self._decision_cost = forecast.decision_cost
        # What is known of each completion so far; most are never asked for.
        self._factors: list[float | None] = [None] * len(self._completions)
        self._chances: list[float | None] = [None] * len(self._completions)

    def protected(self, index: int) -> bool:
        """Whether a path alone is in time at the accepted miss rate; by the index of its completion."""
        return self._margins[self._completions[index].depth] <= self._factor(index)

    def best(self, min_chance: float, *, protected: bool = False) -> tuple[int, ...]:
        """The paths of the set that adds most to the expected accuracy, if any; after an answer it must add
        something.

        Args:
            protected: whether sets must begin with a path that is protected, or with one of any chance.
        """
        chances, chance_of = self._chances, self._chance
        best: tuple[int, ...] = ()
        best_value = WORTH if self._candidates.answered else -math.inf
        for path_set in self._candidates.path_sets:
            if path_set.max_gain <= best_value:
                if path_set.optional and not self._candidates.answered:
                    break  # nor do the pairs after it add more
                continue
            # All paths of a set take at least what its last one takes alone, and chances of paths alone are
            # shared by many sets: most of them fall by these before anything else of them is looked up.
            upper = chances[path_set.last]
            if upper is None:
                upper = chance_of(path_set.last)
            if path_set.optional:
                if upper < min_chance:
                    continue
                certain = chances[path_set.first]
                if certain is None:
                    certain = chance_of(path_set.first)
                rest = path_set.max_gain - path_set.first_gain
                if certain * path_set.first_gain + min(certain, upper) * rest <= best_value:
                    continue
            if protected and not self.protected(path_set.first):
                continue
            value, certain = 0.0, 1.0
            for gain in path_set.gains:
                chance = chances[gain.completion]
                if chance is None:
                    chance = chance_of(gain.completion)
                if chance < certain:
                    certain = chance  # a path is done only if those before it are
                value += certain * gain.accuracy
            if value <= best_value or (path_set.optional and certain < min_chance):
                continue
            if protected or chances[path_set.first]:
                best, best_value = path_set.paths, value + WORTH
        return best

    def _factor(self, index: int) -> float:
        """How many times the forecast of a completion there is time for."""
        factor = self._factors[index]
        if factor is None:
            path, left = self._completions[index], self._budget
            for r in path.prepares:
                left -= self._preparation[r]
            factor = left / (self._slowdown * (path.cost + path.decisions * self._decision_cost))
            self._factors[index] = factor
        return factor

    def _chance(self, index: int) -> float:
        """P(in time)."""
        chance = self._errors[self._completions[index].depth].chance(self._factor(index))
        self._chances[index] = chance
        return chance
