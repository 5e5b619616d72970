"""What one frame is to do next, within its deadline and its share of the time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from impatient_ros.anytime.request import FrameRequest
from impatient_ros.planning.planner import MIN_CHANCE, MIN_CHANCE_SHARED, Plan, Planner
from impatient_ros.planning.preparation_cost import PreparationCost

if TYPE_CHECKING:
    from impatient_ros.anytime.paths import Paths
    from impatient_ros.planning.frame_timing import FrameTiming

__all__ = ['FramePlanner']


class FramePlanner:
    """Plans one frame, from its first decision to its last.

    Args:
        planner: for the request's camera and settings.
        preparation: what preparing this camera's pictures takes.
        clock: steady, seconds.

    Attributes:
        slowdown: of the machine, as the frame's own stages have shown it so far.
    """

    def __init__(
        self,
        paths: Paths,
        planner: Planner,
        preparation: PreparationCost,
        request: FrameRequest,
        clock: Callable[[], float],
    ) -> None:
        self._paths = paths
        self._planner = planner
        self._preparation = preparation
        self._request = request
        self._clock = clock
        self._share_ends = math.inf  # instant at which frames that wait want to go on
        self.slowdown = planner.forecast.slowdown

    def left(self, now: float) -> float:
        """Seconds that the network may take from `now` on."""
        return self._request.deadline() - now - self._request.reserve

    def worthwhile(self, left: float, resolution: int | None) -> bool:
        """Whether the frame could be answered in so many seconds.

        Args:
            resolution: index of the one that its picture is prepared for; None: for none yet.
        """
        return self._planner.feasible(left, resolution=resolution, preparation=self._preparation.resize)

    def plan(
        self, left: float, resolution: int | None, position: int = 0, answered: int | None = None
    ) -> Plan:
        """The plan within the frame's share of what is left; where that is too short, the cheapest path.

        Args:
            answered: the path that was evaluated last.
        """
        mine, min_chance = left, MIN_CHANCE
        if self._request.time_share is not None:
            min_chance = MIN_CHANCE_SHARED
            mine = self._request.time_share(left)
            now = self._clock()
            # What is left is not divided again and again: the share ends when it was said to end, or earlier
            # if more frames wait by now.
            self._share_ends = min(self._share_ends, now + mine) if mine < left else math.inf
            mine = min(mine, self._share_ends - now)
        preparation = self._preparation.resize
        plan = self._planner.plan(
            mine,
            resolution=resolution,
            position=position,
            answered=answered,
            slowdown=self.slowdown,
            min_chance=min_chance,
            preparation=preparation,
        )
        if mine < left and plan.protected is None and answered is None:
            return self._planner.cheapest(
                left,
                resolution=resolution,
                position=position,
                slowdown=self.slowdown,
                preparation=preparation,
            )
        return plan

    def replan(
        self, plan: Plan, timing: FrameTiming, position: int, now: float, answered: int | None
    ) -> Plan:
        """What to do next at a boundary, or with an answer in hand.

        Args:
            plan: the one before, without what has been evaluated.
            timing: of the pass in progress, `position` stages of which have been executed.
        """
        resolution = timing.resolution
        if position > 0:
            # Before the first boundary of a later pass, what the pass before showed still holds.
            self.slowdown = self._planner.forecast.slowdown_within(resolution, position, timing.stages)
        budget = self.left(now)
        # A protected path is kept as long as it is likely from here; at its head it is the best there is.
        if answered is None and plan.protected is not None:
            at_its_head = self._paths.split(plan.protected) == (resolution, position - 1)
            if at_its_head or self._planner.still_likely(
                plan.protected, budget, self.slowdown, resolution=resolution, position=position
            ):
                return plan
        changed = self.plan(budget, resolution, position, answered)
        # On the way to the first answer the plan may change, never end: if the answer comes late, then from
        # the nearest exit.
        nearest = Plan((self._paths.joined(resolution, max(position - 1, 0)),))
        return nearest if changed.infeasible else changed
