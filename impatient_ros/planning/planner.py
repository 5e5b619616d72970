"""Which paths to evaluate for which budget. Pure: no torch, no ROS, no clock.

A plan is the set of paths (exits at resolutions, see `options`) still to be evaluated, in order; the last one
is the target. One search over such sets makes the three modes; they differ only in which sets they consider:

- contract: exactly one path, the target (Russell & Zilberstein's contract algorithms);
- interruptible: one sequence of paths up to the target (anytime prediction): with one resolution every exit,
  with several passes of growing cost;
- adaptive: the target and at most one path before it, its insurance: an earlier exit of the same pass, or a
  whole pass at a lower resolution.

A set is worth its expected accuracy: what each of its paths adds to the answer in hand, times the
probability that it is done in time. While there is no answer, the first path of a set must be *protected*:
its forecast cost times the overrun margin, which holds the accepted miss rate, fits the budget. Everything
after the first answer is optional and costs nothing but time; there it is enough that it is not too unlikely.

What preparing the picture for a resolution takes is given by the caller, who knows the camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from impatient_ros.planning.forecast import Forecast
from impatient_ros.planning.frame_timing import FrameTiming, observed_boundaries
from impatient_ros.planning.options import OptionTable
from impatient_ros.planning.overrun_control import OverrunControl
from impatient_ros.planning.path_sets import Completion
from impatient_ros.planning.search import Search

__all__ = ['MIN_CHANCE', 'MIN_CHANCE_SHARED', 'Plan', 'Planner']

# An optional path less likely to be done in time is not tried: it would mostly hold up the frames after this
# one. On the recorded traces 0.05 and 0.2 change the expected accuracy by less than 0.04 points, 0.4
# costs 0.1.
MIN_CHANCE = 0.1
# The same while other frames wait: before its deadline, a stage that is launched is not stopped. Four cameras
# on the recorded traces (`deadlines.py --simulate all --cameras 4 --frames 300`) miss 2.1 % with it, 4.1 %
# with 0.5; with 0.99, which was not tried elsewhere, 1.4 %.
MIN_CHANCE_SHARED = 0.9
# A protected exit less likely to be in time is abandoned for a nearer one. Lower than what protects it:
# abandoning counts as an overrun, which widens the margin and causes more abandonments. On the recorded
# traces 0.8 and 0.95 change overruns by less than 0.03 points.
KEEP_CHANCE = 0.9


@dataclass(slots=True)  # not frozen: setting attributes the long way doubles the time of a decision
class Plan:
    """What to do next with a frame.

    Attributes:
        paths: still to be evaluated, ascending; empty: stop here.
        infeasible: there is no answer yet and not even the cheapest path can be in time.
        protected: the path that is in time at the accepted miss rate, if any.
        planned_time: seconds from now within which it is planned to complete; later is an overrun.
    """

    paths: tuple[int, ...] = ()
    infeasible: bool = False
    protected: int | None = None
    planned_time: float = field(default=math.inf, compare=False)

    @property
    def target(self) -> int | None:
        """The path that the plan aims at."""
        return self.paths[-1] if self.paths else None


class Planner:
    """Plans the frames of one camera in one mode. It has no state of its own, so it is made for every frame.

    Methods that plan take where the frame stands: `resolution`, the index of the one that its picture is
    prepared for (None: for none yet), and `position`, the number of stages executed on that pass;
    `preparation` is what preparing the picture takes for each resolution, seconds.

    Args:
        options: what its mode chooses from.
        forecast: of costs at the moment.
        control: holds the camera's miss rate.
    """

    def __init__(self, options: OptionTable, forecast: Forecast, control: OverrunControl) -> None:
        self.options = options
        self.forecast = forecast
        self.control = control

    # -- before the first stage

    def feasible(
        self, budget: float, *, resolution: int | None = 0, preparation: Sequence[float] = ()
    ) -> bool:
        """Whether a frame could be answered in so many seconds, unless the machine has become slower for good
        just now. A frame that is taken for infeasible shows nothing, so one hiccup must not do it. Arguments
        as of `plan`.
        """
        if budget <= 0:
            return False
        forecast = self.forecast
        slowdown, decision_cost = forecast.optimistic_slowdown, forecast.decision_cost
        errors, margins = forecast.errors, self.control.margins()
        candidates = self.options.at(resolution, 0, None)
        for index in candidates.starting:
            path = candidates.completions[index]
            left = budget - sum([preparation[r] for r in path.prepares])
            factor = left / slowdown / (path.cost + path.decisions * decision_cost)
            if margins[path.depth] <= factor or errors[path.depth].chance(factor):
                return True
        return False

    def fused(self, path: int) -> bool:
        """Whether a frame to which a path is protected goes there without a stop on its way."""
        return self.options.fused[path]

    # -- at every boundary

    def plan(
        self,
        budget: float,
        *,
        resolution: int | None = 0,
        position: int = 0,
        answered: int | None = None,
        slowdown: float | None = None,
        min_chance: float = MIN_CHANCE,
        preparation: Sequence[float] = (),
    ) -> Plan:
        """The plan for a frame from where it stands.

        Args:
            budget: seconds from now to the deadline, less everything that is neither the network nor
                preparation (publishing).
            answered: the path that was evaluated last, if any. Those before it are done.
            slowdown: of the machine against the profile; None: as forecast.
            min_chance: an optional path less likely to be done in time is not tried.
        """
        candidates = self.options.at(resolution, position, answered)
        if not (budget > 0 and candidates.path_sets):
            return Plan((), answered is None)
        slowdown = self.forecast.slowdown if slowdown is None else slowdown
        search = Search(candidates, self.forecast, self.control, budget, slowdown, preparation)
        if answered is not None:
            return Plan(search.best(min_chance))
        paths: tuple[int, ...] = ()
        # Ascending by cost: mostly the first one is protected.
        if any(map(search.protected, candidates.starting)):
            if self.options.mode == 'contract':  # the most accurate one of those that are protected
                paths = next(each.paths for each in candidates.path_sets if search.protected(each.first))
            else:
                paths = search.best(min_chance, protected=True)
        if not paths:
            # Nothing is protected, or only an insurance of what is too unlikely. An unlikely answer beats
            # none, and a first one as likely as can be beats a better one: the most accurate one would often
            # miss, the more often the lower the accepted rate is and the fewer frames are protected by it.
            # Where nothing was ever that fast, the frame is infeasible.
            paths = search.best(min_chance, less_likely=self.control.miss_rate)
            return Plan(paths, not paths)
        path = candidates.completions[candidates.alone[paths[0]]]
        return Plan(paths, False, paths[0], self._planned_time(path, slowdown, preparation))

    def cheapest(
        self,
        budget: float,
        *,
        resolution: int | None = 0,
        position: int = 0,
        slowdown: float | None = None,
        preparation: Sequence[float] = (),
    ) -> Plan:
        """The cheapest path alone, for a frame that others wait for; arguments as of `plan`."""
        slowdown = self.forecast.slowdown if slowdown is None else slowdown
        candidates = self.options.at(resolution, position, None)
        usual = {
            path: self._planned_time(candidates.completions[index], slowdown, preparation, 1.0)
            for path, index in candidates.alone.items()
            if index in candidates.starting
        }
        path = min(usual, key=usual.__getitem__)
        cheapest = candidates.completions[candidates.alone[path]]
        planned_time = self._planned_time(cheapest, slowdown, preparation)
        if planned_time <= budget:
            return Plan((path,), False, path, planned_time)
        prepared = budget - sum([preparation[r] for r in cheapest.prepares])
        expected = self._planned_time(cheapest, slowdown, (), 1.0)
        if budget > 0 and self.forecast.errors[cheapest.depth].chance(prepared / expected) > 0:
            return Plan((path,))
        return Plan(infeasible=True)

    def still_likely(
        self, path: int, budget: float, slowdown: float, *, resolution: int = 0, position: int = 0
    ) -> bool:
        """Whether a protected path of the pass that has begun is likely enough to be in time to be kept;
        arguments as of `plan`.
        """
        candidates = self.options.at(resolution, position, None)
        index = candidates.alone.get(path)
        if index is None:
            return False
        found = candidates.completions[index]
        if found.prepares:
            return False
        expected = (found.cost + found.decisions * self.forecast.decision_cost) * slowdown
        return self.forecast.errors[found.depth].chance(budget / expected) >= KEEP_CHANCE

    # -- afterwards

    def learn(self, passes: Sequence[FrameTiming], abandoned: int | None = None) -> None:
        """A frame has ended.

        Args:
            passes: what each of its passes took.
            abandoned: the protected path that was not evaluated because it would have been late.
        """
        seen = [each for each in passes if each.cut is not None or observed_boundaries(each)]
        errors = [
            error
            for timing in seen
            for error in self.forecast.learn(timing, more_follows=timing is not seen[-1])
        ]
        if not errors:
            return
        depth = None
        if abandoned is not None:
            resolution, exit_index = divmod(abandoned, self.options.exits)
            executed = max(
                (len(each.boundary_times) - 1 for each in passes if each.resolution == resolution), default=0
            )
            if exit_index >= executed:
                depth = self.forecast.depths.place(resolution, exit_index + 1)
        self.control.learn(errors, depth)

    def _planned_time(
        self, path: Completion, slowdown: float, preparation: Sequence[float], margin: float | None = None
    ) -> float:
        """Seconds from now within which it is planned to complete; `margin` is the control's or as given."""
        margin = self.control.margins()[path.depth] if margin is None else margin
        prepares = sum([preparation[r] for r in path.prepares]) if preparation else 0.0
        return prepares + slowdown * (path.cost + path.decisions * self.forecast.decision_cost) * margin
