"""How wrong forecasts have been lately: the logarithms of observed / forecast in a sliding window, ordered.

The window answers two questions: how likely a path is done in time, and how wide errors spread.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable

from impatient_ros.planning.latency_profile import LatencyProfile

__all__ = ['Errors']

GOLDEN = (math.sqrt(5) - 1) / 2

HIGH = 0.9  # the quantile that `high` and `spread` are about
LEAST_SPREAD = 0.1  # logarithm; below it a few quiet frames would make promises too bold
HICCUPS = 0.01  # share of frames


class Errors:
    """The latest errors, ordered.

    Args:
        start: what was known before the first frame.
        size: how many are kept.
    """

    def __init__(self, start: Iterable[float], size: int) -> None:
        self._latest = deque(start, maxlen=size)
        self._ordered = sorted(self._latest)
        # The same as factors. Decisions are made right after inference has emptied the caches, where even the
        # exponential's code has to be fetched: they only multiply, divide and compare.
        self._factors = [math.exp(error) for error in self._ordered]
        self._high: tuple[float, float] | None = None

    @classmethod
    def profiled(cls, profile: LatencyProfile, size: int, positions: Iterable[int], stages: int) -> Errors:
        """The profile's own spread over paths of so many stages from there on."""
        found: list[float] = []
        for p in positions:
            t = p + stages - 1
            if 0 <= t < profile.exits:
                found += profile.errors(p, t)
        found.sort()
        # At most half of what is remembered, evenly over the spread, in an order in which large and small
        # ones are forgotten alike.
        kept = found[:: math.ceil(2 * len(found) / size)] if found else [0.0]
        mixed = sorted(range(len(kept)), key=lambda i: i * GOLDEN % 1)
        return cls([kept[i] for i in mixed], size)

    def add(self, error: float) -> None:
        if len(self._latest) == self._latest.maxlen:
            oldest = bisect_left(self._ordered, self._latest[0])
            del self._ordered[oldest], self._factors[oldest]
        self._latest.append(error)
        place = bisect_right(self._ordered, error)
        self._ordered.insert(place, error)
        self._factors.insert(place, math.exp(error))
        self._high = None

    def quantile(self, probability: float) -> float:
        """Linear between the ordered errors."""
        rank = probability * (len(self._ordered) - 1)
        low = int(rank)
        high = min(low + 1, len(self._ordered) - 1)
        return self._ordered[low] + (rank - low) * (self._ordered[high] - self._ordered[low])

    @property
    def high(self) -> float:
        """The 0.9 quantile."""
        return self._high_and_spread()[0]

    @property
    def spread(self) -> float:
        """From the median to the high quantile; never less than LEAST_SPREAD."""
        return self._high_and_spread()[1]

    def _high_and_spread(self) -> tuple[float, float]:
        if self._high is None:
            high = self.quantile(HIGH)
            self._high = high, max(high - self.quantile(0.5), LEAST_SPREAD)
        return self._high

    def chance(self, times: float) -> float:
        """P(a path takes at most `times` its forecast): 0 where none was ever that fast, and never quite 1.

        What a window of frames cannot show is the rare hiccup. It is taken to hit HICCUPS of the frames and
        to make one of them k times as long with probability 1 / k.
        """
        factors = self._factors
        below = bisect_right(factors, times)
        if not below:
            return 0.0
        share = (below + 0.5) / (len(factors) + 1)
        return share * (1 - (HICCUPS / times if times > 1 else HICCUPS))
