"""What a frame will cost now: the profile's medians, how slow the machine is at the moment, and how wrong
that has been.

    cost of a path = profile median * slowdown * exp(error)

The *slowdown* follows frame by frame how much slower than its profile the machine runs, and within a frame
what its own first stages took. The *errors* that remain (logarithms of observed / forecast) are kept in
sliding windows by the number of stages that were forecast: long paths average out what makes short ones vary.
They answer "how likely is this path done in time?". Every resolution has windows of its own; the slowdown is
the machine's, and an error that one resolution shows is transferred to the others.

A path is forecast as it will be executed: fused, or with a stop at every boundary. Stops cost what the
runtime needs for them, which the profile shows, and the time of the decision there, which the frames show.
For a network of a millisecond a decision of 0.05 ms is part of its cost.

Shared by all cameras of a machine. Neither torch nor ROS nor a clock; seconds everywhere.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from impatient_ros.planning.depths import Depths
from impatient_ros.planning.error_window import ErrorWindow
from impatient_ros.planning.frame_timing import (
    FrameTiming,
    ObservedBoundary,
    observed_boundaries,
    stopped_on_its_way,
)
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.slowdown import MAX_LOG, SlowdownEstimate, bounded

__all__ = ['DepthError', 'Forecast']

# An error (logarithm) above it, twice the forecast, is a hiccup and no change of the slowdown. On the
# recorded traces half of it changes misses to 0.11 % and overruns to 1.52 %, twice of it hardly anything.
HICCUP = 0.7
# Weight of a frame in the mean decision cost: a mean over about twenty frames. Chosen, not measured:
# decisions take no time when traces are replayed.
DECISION_WEIGHT = 0.05
# Seconds: one decision counts at most three times the mean and this, so this bounds the first one. Chosen,
# not measured.
FIRST_DECISION = 2e-5
MAX_FACTOR = math.exp(MAX_LOG)


class DepthError(NamedTuple):
    """The depth (see `Depths`) at which a frame was seen, and by how much (logarithm) it was later than
    forecast; `at_least` by so much where it was stopped on its way there.
    """

    depth: int
    error: float
    at_least: bool = False


class Forecast:
    """Forecasts costs on profiles and learns from every frame.

    Args:
        profiles: of the machine and runtime, one per resolution in ascending order.
        window: frames whose errors are remembered. On the recorded traces half or twice as many change
            neither overruns nor the expected accuracy by more than 0.1 points.
        slowdown_weight: how far the slowdown moves towards what a frame showed (0..1). With half or twice of
            it misses there rise from 0.09 to 0.12 and 0.13 %, overruns from 1.7 to 2.0 and 1.8 %.
        within_weight: how far a frame's own first stages move the slowdown for the rest of it (0..1). With
            none or twice of it misses there rise to 0.11 and 0.13 %.

    Attributes:
        depths: the places of depths in `errors` and in the margins of `OverrunControl`.
        errors: the errors at every depth.
        slowdown: how many times slower than its profile the machine is now.
        optimistic_slowdown: the lower one of it and that of a while ago: after a hiccup, the likelier one.
        trailing_excess: by how much (logarithm, at least 0) the frames of a while ago were slower than that.
        decision_cost: what the decision at a boundary takes, seconds on a machine of slowdown 1.
        frames: how many it has learned from.
    """

    slowdown: float
    optimistic_slowdown: float
    trailing_excess: float

    def __init__(
        self,
        profiles: Sequence[LatencyProfile],
        *,
        window: int = 200,
        slowdown_weight: float = 0.4,
        within_weight: float = 0.3,
    ) -> None:
        self.profiles = tuple(profiles)
        self.decision_cost = 0.0
        self.frames = 0
        T = self.profiles[0].exits
        self.depths = Depths(len(self.profiles), T)
        self._within_weight = within_weight
        cumulative = [profile.cumulative_stage_costs() for profile in self.profiles]
        self._fused_costs = [fused for fused, _ in cumulative]
        self._stepwise_costs = [stepwise for _, stepwise in cumulative]
        self._slowdown = SlowdownEstimate(slowdown_weight)

        def windows(positions: Iterable[int]) -> list[ErrorWindow]:
            places = list(positions)
            return [
                ErrorWindow.from_profile(profile, window, places, stages)
                for profile in self.profiles
                for stages in range(T + 1)
            ]

        self.errors: Sequence[ErrorWindow] = (*windows((0,)), *windows(range(1, T + 1)))
        # What every depth from the start costs, without heads; by depth.
        self._depth_costs = [cost for costs in self._stepwise_costs for cost in costs]
        self._absolute_errors: deque[float] = deque(maxlen=window)
        self._uncharged = [0.0] * len(self._depth_costs)  # hiccups not yet charged to shallower depths
        self._update()

    # -- asking

    def slowdown_within(self, resolution: int, position: int, stages: float) -> float:
        """The slowdown for the rest of a frame whose first `position` stages at that resolution, without
        heads, took `stages` seconds.
        """
        if position == 0 or stages <= 0:
            return self.slowdown
        observed = stages / (self._stepwise_costs[resolution][position] * self.slowdown)
        return self.slowdown * max(1 / MAX_FACTOR, min(MAX_FACTOR, observed)) ** self._within_weight

    def median_error(self) -> float | None:
        """Median of |observed / forecast - 1| over the latest frames; None before the first one."""
        ordered = sorted(self._absolute_errors)
        return ordered[len(ordered) // 2] if ordered else None

    # -- learning

    def learn(self, timing: FrameTiming, *, more_follows: bool = False) -> list[DepthError]:
        """Note what a frame took at one resolution. Returns the error at every depth at which it was seen.

        A run that was stopped on its way took at least so long (a censored observation): it counts where that
        says more than what was seen before it.

        Args:
            more_follows: whether another pass of the same frame will be learned from. Only the last one of
                them moves the slowdown: two passes that agree are no two frames, they may be one hiccup.
        """
        boundaries = observed_boundaries(timing)
        stopped = stopped_on_its_way(timing, boundaries)
        reached = boundaries if stopped is None else [*boundaries, stopped]
        if not reached:
            return []
        profile, first = self.profiles[timing.resolution], self.depths.place(timing.resolution, 0)
        stepwise, fused = self._stepwise_costs[timing.resolution], self._fused_costs[timing.resolution]
        found: list[DepthError] = []
        slowdown = self._slowdown.now
        forecast = 0.0  # on a machine of slowdown 1, without the decisions on the way
        observed, error, depth = slowdown, 0.0, first  # of the last one that says more than those before it
        seen = set()
        for boundary in reached:
            cumulative = stepwise if boundary.position - boundary.previous == 1 else fused
            forecast += cumulative[boundary.position] - cumulative[boundary.previous]
            if boundary.evaluated:
                forecast += profile.head_cost(boundary.position - 1)
            expected = forecast + boundary.calls * self.decision_cost
            shown = bounded(math.log(max(boundary.completed, 1e-9) / expected))
            this = DepthError(first + boundary.position, bounded(shown - slowdown), boundary is stopped)
            found.append(this)
            seen.add(this.depth)
            window = self.errors[this.depth]
            if not this.at_least:
                window.add(this.error)
                observed, error, depth = shown, this.error, this.depth
                continue
            counted = window.add_at_least(this.error)
            if this.error > error:
                observed, error, depth = shown, counted, this.depth
            elif not boundaries:
                return found  # stopped before its forecast had passed: that tells nothing more
        for other, cost in enumerate(self._depth_costs):
            # A frame's error is much the same at all depths. Without it, choosing shallow exits would leave
            # the deep ones with the errors from before a change.
            if cost > 0 and other not in seen:
                self.errors[other].add(self._transferred(error, depth, other))
        self._learn_on_the_way(boundaries, timing)
        # A decision during which another process got the core is no measure of decisions.
        decision = min(
            timing.deciding / reached[-1].calls / self.slowdown,
            3 * self.decision_cost + FIRST_DECISION,
        )
        self.decision_cost += DECISION_WEIGHT * (decision - self.decision_cost)
        if not more_follows:
            if stopped is None:
                self._absolute_errors.append(abs(math.expm1(observed - slowdown)))
            self._slowdown.learn(observed, self.errors[first + 1].spread)
            self.frames += 1
            self._update()
        return found

    def _transferred(self, error: float, seen: int, depth: int) -> float:
        """What an error seen at the depth `seen` is worth at another one.

        An error that is out of the ordinary is a hiccup: a time that comes once, and that hits the beginning
        of a path the more seldom the shorter it is.
        """
        if error < HICCUP:
            return error
        share = self._depth_costs[depth] / self._depth_costs[seen]
        if share < 1:
            self._uncharged[depth] += share
            if self._uncharged[depth] < 1:
                return 0.0
            self._uncharged[depth] -= 1
        return bounded(math.log1p(math.expm1(error) / share))

    def _learn_on_the_way(self, boundaries: Sequence[ObservedBoundary], timing: FrameTiming) -> None:
        """What remained from every boundary to the last exit, against what would have been forecast there."""
        if not timing.exit_times:
            return
        r = timing.resolution
        profile = self.profiles[r]
        last, end = timing.exit_times[-1]
        earlier = [exit_index for exit_index, _ in timing.exit_times[:-1]]
        stages = before = 0.0  # what the stages took so far, as it is known where a decision is made
        for position, _, reached, completed, evaluated, calls in boundaries:
            own_head = profile.head_cost(position - 1)
            seen = completed - own_head * self.slowdown if math.isnan(reached) else reached
            stages += max(0.0, seen - before - self.decision_cost * self.slowdown)
            slowdown = self.slowdown_within(r, position, stages)
            if evaluated and not math.isnan(reached) and completed > reached:
                expected = (own_head + self.decision_cost) * slowdown
                self.errors[self.depths.place(r, 0, on_the_way=True)].add(
                    bounded(math.log((completed - reached) / expected))
                )
            if position <= last and end > completed:
                heads = sum(profile.head_cost(head) for head in earlier if head >= position)
                decisions = (boundaries[-1].calls - calls) * self.decision_cost
                expected = profile.quantile('contract', position, last, 0.5) + heads + decisions
                error = bounded(math.log((end - completed) / (expected * slowdown)))
                self.errors[self.depths.place(r, last + 1 - position, on_the_way=True)].add(error)
            before = completed

    def _update(self) -> None:
        estimate = self._slowdown
        self.slowdown, self.optimistic_slowdown = math.exp(estimate.now), math.exp(estimate.optimistic)
        self.trailing_excess = max(0.0, estimate.trailing_observed - estimate.now)
