"""What a frame will cost now: the profile's medians, how slow the machine is at the moment, and how wrong
that has been.

    cost of a path = profile median * level * exp(error)

The *level* follows frame by frame how much slower than its profile the machine runs, and within a frame what
its own first stages took. The *errors* that remain (logarithms of observed / forecast) are kept in sliding
windows by the number of stages that were forecast: long paths average out what makes short ones vary. They
answer "how likely is this path done in time?".

*Promises* (the first answer of a plan) are made at the 0.9 quantile of these errors plus a reach, in units
of their spread, and not below the level of a while ago. Adaptive conformal control holds the reach of each
depth: it grows by gain * (1 - rate) whenever a frame reaches that depth later than promised, or than it would
have been, and shrinks by gain * rate otherwise. Since it cannot run away, the long-run share of late ones
tends to `rate` whatever the machine does (Gibbs, Candes, "Adaptive conformal inference under distribution
shift", NeurIPS 2021; on the scores as in Angelopoulos, Candes, Tibshirani, "Conformal PID control for time
series prediction", NeurIPS 2023). That is the share of all frames; promises are made when the forecast is
low, which is more often wrong. What they alone miss the rate by, caution makes up for in the same way.

The 1 - rate quantile of the errors itself would do without control, but the few frames at the beginning of a
burst would hold it up for as long as they are remembered, and the deeper exits with it.
Neither torch nor ROS nor a clock; seconds everywhere.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from impatient_ros.forecast_errors import Errors
from impatient_ros.latency import LatencyProfile

__all__ = ['Forecast', 'ForecastState']

SLOW = 0.1  # how far the level of a while ago moves with each frame
CAUTION_GAIN = 0.5  # step of the control over actual promises, in units of the errors' spread
CALM = 0.999  # what a frame without a promise leaves of the caution: without promises nobody hears of it
GOLDEN = (math.sqrt(5) - 1) / 2
LARGEST = 3.5  # |logarithm| of a level or an error; a machine 33 times slower has other troubles
MOST = math.exp(LARGEST)


@dataclass(frozen=True)
class ForecastState:
    """What people may want to know of a forecast."""

    level: float  # factor on the profile's medians
    margin: float  # factor on top of it at which a promise to the first exit is made
    error: float | None  # median of |observed / forecast - 1| over the latest frames
    promises: int  # made and kept or broken so far
    overrun_rate: float | None  # share of them that came later than promised


class Forecast:
    """Forecasts costs on a profile and learns from every frame.

    Args:
        profile: of the machine and runtime.
        rate: long-run share of promises that may come late.
        window: frames whose errors are remembered.
        follow: how far the level moves towards what a frame showed (0..1).
        within: how far a frame's own first stages move the level for the rest of it (0..1).
        gain: step of the conformal control, in units of the errors' spread.

    Attributes:
        level: how many times slower than its profile the machine is now.
    """

    level: float

    def __init__(
        self,
        profile: LatencyProfile,
        rate: float = 0.01,
        *,
        window: int = 200,
        follow: float = 0.4,
        within: float = 0.3,
        gain: float = 1.0,
    ) -> None:
        self.rate = rate
        self.profile = profile
        self._window, self._follow, self._within, self._gain = window, follow, within, gain
        exits = range(profile.exits)
        # Stages alone, from the start to each boundary.
        self._boundaries = [0.0] + [
            max(profile.quantile('contract', 0, t, 0.5) - profile.head(t), 1e-9) for t in exits
        ]
        self.reset()

    def reset(self) -> None:
        """Forget what frames have shown (after measuring a new profile, say)."""
        T = self.profile.exits
        self._log_level = 0.0
        self._slow = 0.0  # logarithm of the level of a while ago
        self._surprise = 0.0  # by how much the frame before was off
        self._from_start = [self._profiled((0,), stages) for stages in range(T + 1)]
        self._on_the_way = [self._profiled(range(1, T + 1), stages) for stages in range(T + 1)]
        # The reaches begin where the profile puts the 1 - rate quantile.
        self._caution = 0.0
        self._was_promised = False  # to the frame under way
        self._reaches = [
            (errors.quantile(1 - self.rate) - errors.high) / errors.spread for errors in self._from_start
        ]
        self._update_margins()
        self._absolute: deque[float] = deque(maxlen=self._window)
        self._promises = self._late = 0

    def _profiled(self, positions: Iterable[int], stages: int) -> Errors:
        """The profile's own spread over paths of so many stages."""
        T = self.profile.exits
        found: list[float] = []
        for p in positions:
            t = p + stages - 1
            if 0 <= t < T:
                found += self.profile.errors(p, t)
        found.sort()
        # At most half of what is remembered, evenly over the spread, in an order in which large and small
        # ones are forgotten alike.
        kept = found[:: math.ceil(2 * len(found) / self._window)] if found else [0.0]
        mixed = sorted(range(len(kept)), key=lambda i: i * GOLDEN % 1)
        return Errors([kept[i] for i in mixed], self._window)

    # -- asking

    def reach(self, stages: int) -> float:
        """How far promises over so many stages lie beyond the errors' high quantile, in their spread."""
        return self._reaches[stages]

    def state(self) -> ForecastState:
        absolute = sorted(self._absolute)
        return ForecastState(
            level=self.level,
            margin=math.exp(self.log_margins()[1]),
            error=absolute[len(absolute) // 2] if absolute else None,
            promises=self._promises,
            overrun_rate=self._late / self._promises if self._promises else None,
        )

    def level_within(self, position: int, elapsed: float) -> float:
        """The level for the rest of a frame whose first `position` stages, without heads, took `elapsed`
        seconds.
        """
        if position == 0 or elapsed <= 0:
            return self.level
        shown = elapsed / (self._boundaries[position] * self.level)
        return self.level * max(1 / MOST, min(MOST, shown)) ** self._within

    def log_margin(self, stages: int, position: int = 0) -> float:
        """Logarithm of the factor on the forecast within which a path of so many stages, from that position
        on, ends with probability 1 - rate.
        """
        return self._margins[position > 0][stages]

    def log_margins(self, position: int = 0) -> list[float]:
        """The same for all numbers of stages."""
        return self._margins[position > 0]

    def margins(self, position: int = 0) -> Sequence[float]:
        """The same as factors."""
        return self._factors[position > 0]

    def errors(self, position: int = 0) -> Sequence[Errors]:
        """The errors of paths from that position on, by the number of stages."""
        return self._from_start if position == 0 else self._on_the_way

    # -- learning

    def promised(self, late: bool) -> None:
        """Count a promise that was made, and whether it was late."""
        self._promises += 1
        self._late += late
        self._caution += CAUTION_GAIN * ((1.0 if late else 0.0) - self.rate)
        self._was_promised = True

    def learn(
        self,
        marks: Sequence[float],
        heads: Sequence[tuple[int, float]],
        given_up: int | None = None,
    ) -> None:
        """Note what a frame took. Every depth that it reached says whether a promise would have been kept.

        Args:
            marks: seconds from its start to each boundary that it reached, the first one 0; NaN where a
                boundary was passed in one go with the stage or head that follows.
            heads: the exits evaluated, ascending, with the seconds from the start to their scores.
            given_up: the exit that had been promised and was not evaluated because it would have been late.
        """
        reached = len(marks) - 1
        if reached < 1:
            return
        if not self._was_promised:
            self._caution *= CALM
        self._was_promised = False
        level = self._log_level
        spent_on_heads = 0.0  # forecast, without the level
        evaluated = dict(heads)
        unseen = list(range(reached + 1, self.profile.exits + 1))
        for position in range(1, reached + 1):
            forecast = self._boundaries[position] + spent_on_heads
            took = marks[position]
            if position - 1 in evaluated:
                took = evaluated[position - 1]
                spent_on_heads += self.profile.head(position - 1)
                forecast = self._boundaries[position] + spent_on_heads
            if math.isnan(took):
                unseen.append(position)
                continue
            shown = _bounded(math.log(max(took, 1e-9) / forecast))
            error = _bounded(shown - level)
            self._control(position, error > self._without_caution[position])
            self._from_start[position].add(error)
        if given_up is not None and given_up >= reached:
            self._control(given_up + 1, late=True)
        for position in unseen:
            # Not seen this time. A frame's error is much the same at all depths; without it, choosing shallow
            # exits would leave the deep ones with what was so before a change.
            self._from_start[position].add(error)
        if heads:
            self._learn_the_way(marks, heads)
        self._slow += SLOW * (shown - self._slow)
        self._absolute.append(abs(math.expm1(shown - level)))
        self._log_level = _bounded(level + self._step(shown - level))
        self._update_margins()

    def _step(self, surprise: float) -> float:
        """How far the level moves after a frame that was off by so much (logarithm).

        One frame moves it in part: it may be a hiccup. A second one that is off to the same side, and by more
        than what is usual, is a change: then the level moves as far as both agree.
        """
        before, self._surprise = self._surprise, surprise
        agreed = min(abs(before), abs(surprise)) if before * surprise > 0 else 0.0
        step = self._follow * abs(surprise)
        if agreed > self._from_start[1].spread:
            step = max(step, agreed)
        return math.copysign(step, surprise)

    def _control(self, stages: int, late: bool) -> None:
        self._reaches[stages] += self._gain * ((1.0 if late else 0.0) - self.rate)

    def _update_margins(self) -> None:
        """Margins are asked for in every decision and change once per frame."""
        lift = max(0.0, self._slow - self._log_level)

        def margins(family: Sequence[Errors], caution: float) -> list[float]:
            pairs = zip(family, self._reaches, strict=True)
            return [_bounded(e.high + (reach + caution) * e.spread + lift) for e, reach in pairs]

        self._margins = [margins(family, self._caution) for family in (self._from_start, self._on_the_way)]
        self._without_caution = margins(self._from_start, 0.0)
        self._factors = [[math.exp(margin) for margin in family] for family in self._margins]
        self.level = math.exp(self._log_level)

    def _learn_the_way(self, marks: Sequence[float], heads: Sequence[tuple[int, float]]) -> None:
        """What remained from every boundary to the last head, against what would have been forecast there."""
        last, end = heads[-1]
        staged = done = 0.0
        ended = dict(heads)
        for position in range(1, last + 2):
            if math.isnan(marks[position]):
                return  # nothing was seen of what remained from there
            staged += marks[position] - max(done, marks[position - 1])
            between = sum(self.profile.head(h) for h, _ in heads[:-1] if h >= position - 1)
            forecast = self.profile.quantile('contract', position, last, 0.5) + between
            remaining = end - marks[position]
            if remaining > 0:
                error = math.log(remaining / (forecast * self.level_within(position, staged)))
                self._on_the_way[last + 1 - position].add(_bounded(error))
            done = ended.get(position - 1, done)


def _bounded(logarithm: float) -> float:
    return max(-LARGEST, min(LARGEST, logarithm))
