"""What a frame will cost now: the profile's medians, how slow the machine is at the moment, and how wrong
that has been.

    cost of a path = profile median * level * exp(error)

The *level* follows frame by frame how much slower than its profile the machine runs, and within a frame what
its own first stages took. The *errors* that remain (logarithms of observed / forecast) are kept in sliding
windows by the number of stages that were forecast: long paths average out what makes short ones vary. They
answer "how likely is this path done in time?".

*Promises* (the first answer of a plan) are made at a margin over the forecast that `promises` holds, and not
below the level of a while ago.

A path is forecast as it is gone: in one go, or with a stop at every boundary. Stops cost what the runtime
needs for them, which the profile shows, and what the decision there takes (a *look*), which the frames show.
For a network of a millisecond, a look of 0.05 ms is part of its cost.
Neither torch nor ROS nor a clock; seconds everywhere.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from impatient_ros.planning.error_window import Errors
from impatient_ros.planning.frame_timing import Waypoint, waypoints
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.overrun_control import Promises
from impatient_ros.planning.slowdown import LARGEST, Level, bounded

__all__ = ['Forecast', 'ForecastState']

HICCUP = 0.7  # an error (logarithm) above it is one
LOOKS = 0.05  # weight of a frame in the mean cost of a look
LEAST_LOOK = 2e-5  # s
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
        least_level: the lower one of it and the level of a while ago: after a hiccup, the likelier one.
        look: what the decision at a boundary takes, seconds on a machine at level 1.
    """

    level: float
    least_level: float
    look: float

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
        self.profile = profile
        self._rate = rate
        self._window, self._follow, self._within, self._gain = window, follow, within, gain
        exits = range(profile.exits)
        # Stages alone, from the start to each boundary: in one go, and stopping at every boundary.
        self._in_one_go = [0.0] + [
            max(profile.quantile('contract', 0, t, 0.5) - profile.head(t), 1e-9) for t in exits
        ]
        self._steps = self._in_one_go[:2] + [
            self._in_one_go[1] + max(profile.quantile('contract', 1, t, 0.5) - profile.head(t), 1e-9)
            for t in exits[1:]
        ]
        self.reset()

    @property
    def rate(self) -> float:
        """Long-run share of promises that may come late."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate = self._promises.rate = rate

    def reset(self) -> None:
        """Forget what frames have shown (after measuring a new profile, say)."""
        T = self.profile.exits
        self._level = Level(self._follow)
        profiled = partial(Errors.profiled, self.profile, self._window)
        self._from_start = [profiled((0,), stages) for stages in range(T + 1)]
        self._on_the_way = [profiled(range(1, T + 1), stages) for stages in range(T + 1)]
        self._promises = Promises(self._from_start, self._rate, self._gain)
        self._absolute: deque[float] = deque(maxlen=self._window)
        self._spared = [0.0] * (T + 1)  # hiccups that shallower depths have not yet been charged with
        self.look = 0.0
        self._update()

    # -- asking

    def reach(self, stages: int) -> float:
        """How far promises over so many stages lie beyond the errors' high quantile, in their spread."""
        return self._promises.reaches[stages]

    def state(self) -> ForecastState:
        absolute = sorted(self._absolute)
        return ForecastState(
            level=self.level,
            margin=math.exp(self.log_margins()[1]),
            error=absolute[len(absolute) // 2] if absolute else None,
            promises=self._promises.made,
            overrun_rate=self._promises.late / self._promises.made if self._promises.made else None,
        )

    def level_within(self, position: int, elapsed: float) -> float:
        """The level for the rest of a frame whose first `position` stages, without heads, took `elapsed`
        seconds.
        """
        if position == 0 or elapsed <= 0:
            return self.level
        shown = elapsed / (self._steps[position] * self.level)
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
        self._promises.made_one(late)

    def learn(
        self,
        marks: Sequence[float],
        heads: Sequence[tuple[int, float]],
        given_up: int | None = None,
        decided: float = 0.0,
    ) -> None:
        """Note what a frame took. Every depth that it reached says whether a promise would have been kept.

        Args:
            marks: seconds from its start to each boundary that it reached, the first one 0; NaN where a
                boundary was passed in one go with the stage or head that follows.
            heads: the exits evaluated, ascending, with the seconds from the start to their scores.
            given_up: the exit that had been promised and was not evaluated because it would have been late.
            decided: seconds between what was executed, in which decisions were made.
        """
        course = waypoints(marks, heads)
        if not course:
            return
        self._promises.next_frame()
        level = self._level.now
        forecast = 0.0  # without the level, and without the looks on the way
        unseen = set(range(1, self.profile.exits + 1))
        for point in course:
            cumulative = self._steps if point.position - point.since == 1 else self._in_one_go
            forecast += cumulative[point.position] - cumulative[point.since]
            if point.head:
                forecast += self.profile.head(point.position - 1)
            expected = forecast + point.pieces * self.look
            shown = bounded(math.log(max(point.done, 1e-9) / expected))
            error = bounded(shown - level)
            self._promises.reached(point.position, error > self._without_caution[point.position])
            self._from_start[point.position].add(error)
            unseen.discard(point.position)
        if given_up is not None and given_up >= len(marks) - 1:
            self._promises.reached(given_up + 1, late=True)
        for position in unseen:
            # Not seen this time. A frame's error is much the same at all depths; without it, choosing shallow
            # exits would leave the deep ones with what was so before a change.
            self._from_start[position].add(self._elsewhere(error, course[-1].position, position))
        self._learn_the_way(course, heads)
        # A decision during which another process got the core is no measure of decisions.
        look = min(decided / course[-1].pieces / self.level, 3 * self.look + LEAST_LOOK)
        self.look += LOOKS * (look - self.look)
        self._absolute.append(abs(math.expm1(shown - level)))
        self._level.learn(shown, self._from_start[1].spread)
        self._update()

    def _elsewhere(self, error: float, seen: int, position: int) -> float:
        """What an error at one depth is at another one, where it was not seen.

        An error that is out of the ordinary is a hiccup: a time that comes once, and that hits the beginning
        of a path the more seldom the shorter it is.
        """
        if error < HICCUP:
            return error
        share = self._steps[position] / self._steps[seen]
        if share < 1:
            self._spared[position] += share
            if self._spared[position] < 1:
                return 0.0
            self._spared[position] -= 1
        return bounded(math.log1p(math.expm1(error) / share))

    def _update(self) -> None:
        """Margins are asked for in every decision and change once per frame."""
        lift = max(0.0, self._level.shown - self._level.now)

        def margins(family: Sequence[Errors], *, caution: bool) -> list[float]:
            return [bounded(margin + lift) for margin in self._promises.margins(family, caution=caution)]

        # Caution is about promises, which are made at the start only.
        self._margins = [
            margins(self._from_start, caution=True),
            margins(self._on_the_way, caution=False),
        ]
        self._without_caution = margins(self._from_start, caution=False)
        self._factors = [[math.exp(margin) for margin in family] for family in self._margins]
        self.level, self.least_level = math.exp(self._level.now), math.exp(self._level.least)

    def _learn_the_way(self, course: Sequence[Waypoint], heads: Sequence[tuple[int, float]]) -> None:
        """What remained from every waypoint to the last head, against what would have been forecast there."""
        if not heads:
            return
        last, end = heads[-1]
        staged = before = 0.0
        for position, _, mark, done, head, so_far in course:
            alone = self.profile.head(position - 1)
            # What its stages took so far, as whoever decides there knows it.
            look = self.look * self.level
            staged += max(0.0, (done - alone * self.level if math.isnan(mark) else mark) - before - look)
            level = self.level_within(position, staged)
            if head and not math.isnan(mark) and done > mark:
                self._on_the_way[0].add(bounded(math.log((done - mark) / ((alone + self.look) * level))))
            if position <= last and end > done:
                between = sum(self.profile.head(h) for h, _ in heads[:-1] if h >= position)
                looks = (course[-1].pieces - so_far) * self.look
                forecast = self.profile.quantile('contract', position, last, 0.5) + between + looks
                self._on_the_way[last + 1 - position].add(
                    bounded(math.log((end - done) / (forecast * level)))
                )
            before = done
