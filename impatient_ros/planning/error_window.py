"""How wrong cost forecasts have been lately: the logarithms of observed / forecast in a sliding window.

The window answers two questions: how likely a path is done in time, and how far errors spread.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable
from functools import cache

from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.quantile import quantile

__all__ = ['HICCUP_RATE', 'ErrorWindow']

GOLDEN_RATIO = (math.sqrt(5) - 1) / 2

# The quantile that `high` and `spread` are about: enough of 200 samples lie beyond it for a steady value. On
# the recorded traces 0.8 raises overruns to 2.3 %, and 0.95 protects an exit in 69 instead of 73 % of the
# frames.
HIGH = 0.9
# Logarithm; with less, a few quiet frames would make the overrun margin too narrow. On the recorded traces
# half or twice of it changes overruns by 0.02 points.
MIN_SPREAD = 0.1
# Share of frames that meet a hiccup no window has shown yet. Half or twice of it changes misses on the
# recorded traces to 0.11 and 0.08 %, overruns by 0.04 points.
HICCUP_RATE = 0.01


class ErrorWindow:
    """The latest errors, ordered.

    Args:
        initial: what was known before the first frame.
        size: how many are kept.

    Attributes:
        factors: the errors as factors on the forecast, ascending.
        shares: the share of frames that is taken to be within a factor that so many of these do not exceed.
    """

    def __init__(self, initial: Iterable[float], size: int) -> None:
        self._latest = deque(initial, maxlen=size)
        self._ordered = sorted(self._latest)
        # The same as factors. Decisions are made right after inference has emptied the caches, where even the
        # exponential's code has to be fetched: they only multiply, divide and compare.
        self.factors = array('d', map(math.exp, self._ordered))
        self.shares = _shares(len(self.factors))
        self._high_and_spread: tuple[float, float] | None = None

    @classmethod
    def from_profile(
        cls, profile: LatencyProfile, size: int, positions: Iterable[int], stages: int
    ) -> ErrorWindow:
        """The profile's own spread over paths of so many stages from those positions on."""
        found: list[float] = []
        for p in positions:
            t = p + stages - 1
            if 0 <= t < profile.exits:
                found += profile.log_errors(p, t)
        found.sort()
        # At most half of the window, evenly over the spread, in an order in which large and small ones leave
        # the window alike (multiples of the golden ratio modulo 1 are spread evenly at every length).
        kept = found[:: math.ceil(2 * len(found) / size)] if found else [0.0]
        mixed = sorted(range(len(kept)), key=lambda i: i * GOLDEN_RATIO % 1)
        return cls([kept[i] for i in mixed], size)

    def add(self, error: float) -> None:
        """Note an error; the oldest one leaves a full window."""
        if len(self._latest) == self._latest.maxlen:
            oldest = bisect_left(self._ordered, self._latest[0])
            del self._ordered[oldest], self.factors[oldest]
        self._latest.append(error)
        place = bisect_right(self._ordered, error)
        self._ordered.insert(place, error)
        self.factors.insert(place, math.exp(error))
        if len(self.factors) != len(self.shares) - 1:
            self.shares = _shares(len(self.factors))
        self._high_and_spread = None

    def add_at_least(self, error: float) -> float:
        """Note an error that is only known to be at least so large. Returns what it counts as: the median of
        those that were larger, for it could be any of them (redistribution to the right; Efron, "The two
        sample problem with censored data", 1967); itself where none was.
        """
        larger = bisect_right(self._ordered, error)
        counted = self._ordered[(larger + len(self._ordered)) // 2] if larger < len(self._ordered) else error
        self.add(counted)
        return counted

    def quantile(self, probability: float) -> float:
        """The quantile of the errors, linear between them."""
        return quantile(self._ordered, probability)

    @property
    def high(self) -> float:
        """The 0.9 quantile."""
        return self._measured()[0]

    @property
    def spread(self) -> float:
        """From the median to the high quantile; never less than MIN_SPREAD."""
        return self._measured()[1]

    def _measured(self) -> tuple[float, float]:
        if self._high_and_spread is None:
            high = self.quantile(HIGH)
            self._high_and_spread = high, max(high - self.quantile(0.5), MIN_SPREAD)
        return self._high_and_spread

    def chance(self, factor: float) -> float:
        """P(a path takes at most `factor` times its forecast): 0 where none was ever that fast; 1 only where
        there is no limit.

        What a window of frames cannot show is the rare hiccup. It is taken to hit HICCUP_RATE of the frames
        and to make one of them k times as long with probability 1 / k.
        """
        if factor == math.inf:
            return 1.0  # there is no deadline
        # `Search` spells this out: there, the call would take as long as the rest.
        share = self.shares[bisect_right(self.factors, factor)]
        return share * (1 - (HICCUP_RATE / factor if factor > 1 else HICCUP_RATE))


@cache
def _shares(count: int) -> tuple[float, ...]:
    """By how many of `count` samples are within: none makes it impossible, else by the rule of succession."""
    return (0.0, *((below + 0.5) / (count + 1) for below in range(1, count + 1)))
