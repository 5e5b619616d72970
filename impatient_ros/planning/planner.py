"""Which exits to evaluate for which budget. Pure: no torch, no ROS, no clock.

A plan is the set of heads still to be evaluated, in order; the last one is the target. One search over such
sets makes the three modes; they differ only in which sets they consider (`options`):

- contract: exactly one head, the target (Russell & Zilberstein's contract algorithms);
- interruptible: every head on the way to the target (anytime prediction);
- adaptive: the target and at most one earlier head, its insurance.

A set is worth its expected accuracy: what each of its heads adds to the answer in hand, times the
probability that it is done in time. While there is no answer, the first head of a set must be *protected*:
its forecast cost times the overrun margin, which holds the accepted miss rate, fits the budget. Everything
after the first answer is optional and costs nothing but time; there it is enough that it is not too unlikely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from impatient_ros.planning.forecast import Forecast
from impatient_ros.planning.frame_timing import FrameTiming
from impatient_ros.planning.options import Candidates, OptionTable
from impatient_ros.planning.overrun_control import OverrunControl

__all__ = ['MIN_CHANCE', 'MIN_CHANCE_SHARED', 'Plan', 'Planner']

# An optional head less likely to be done in time is not tried: it would mostly hold up the frames after this
# one. On the recorded traces 0.05 and 0.2 change the expected accuracy by less than 0.04 points, 0.4
# costs 0.1.
MIN_CHANCE = 0.1
# The same while other frames wait: a stage that is launched cannot be stopped. Four cameras on the recorded
# traces (`deadlines.py --simulate all --cameras 4 --frames 300`) miss 2.1 % with it, 4.1 % with 0.5; with
# 0.99, which was not tried elsewhere, 1.4 %.
MIN_CHANCE_SHARED = 0.9
# A protected exit less likely to be in time is abandoned for a nearer one. Lower than what protects it:
# abandoning counts as an overrun, which widens the margin and causes more abandonments. On the recorded
# traces 0.8 and 0.95 change overruns by less than 0.03 points.
KEEP_CHANCE = 0.9
TIE = 1e-9  # of accuracy: sets that differ less are equal, and the one found first is taken


@dataclass(slots=True)  # not frozen: setting attributes the long way doubles the time of a decision
class Plan:
    """What to do next with a frame.

    Attributes:
        heads: exits still to be evaluated, ascending; empty: stop here.
        infeasible: there is no answer yet and not even the cheapest exit can be in time.
        protected: the exit that is in time at the accepted miss rate, if any.
        planned_time: seconds from now within which it is planned to complete; later is an overrun.
    """

    heads: tuple[int, ...] = ()
    infeasible: bool = False
    protected: int | None = None
    planned_time: float = field(default=math.inf, compare=False)

    @property
    def target(self) -> int | None:
        """The exit that the plan aims at."""
        return self.heads[-1] if self.heads else None


class Planner:
    """Plans the frames of one camera in one mode. It has no state of its own, so it is made for every frame.

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

    def feasible(self, budget: float) -> bool:
        """Whether a frame could be answered in so many seconds, unless the machine has become slower for good
        just now. A frame that is taken for infeasible shows nothing, so one hiccup must not do it.
        """
        if budget <= 0:
            return False
        forecast = self.forecast
        available, decision_cost = budget / forecast.optimistic_slowdown, forecast.decision_cost
        errors, margins = forecast.errors(), self.control.margins()
        for path in self.options.start.starting:
            factor = available / (path.cost + path.decisions * decision_cost)
            if margins[path.stages] <= factor or errors[path.stages].chance(factor):
                return True
        return False

    def fused(self, exit_index: int) -> bool:
        """Whether a frame to which an exit is protected goes there without a stop on its way."""
        return self.options.fused[exit_index]

    # -- at every boundary

    def plan(
        self,
        budget: float,
        *,
        position: int = 0,
        answered: int | None = None,
        slowdown: float | None = None,
        min_chance: float = MIN_CHANCE,
    ) -> Plan:
        """The plan for a frame from where it stands.

        Args:
            budget: seconds from now to the deadline, less everything that is not the network (decode,
                preprocessing, publishing).
            position: number of stages already executed.
            answered: the exit whose answer is in hand, if any. Heads up to it are done.
            slowdown: of the machine against the profile; None: as forecast.
            min_chance: an optional head less likely to be done in time is not tried.
        """
        candidates = self.options.at(position, answered)
        if not (budget > 0 and candidates.head_sets):
            return Plan((), answered is None)
        forecast = self.forecast
        slowdown = forecast.slowdown if slowdown is None else slowdown
        available = budget / slowdown
        if answered is not None:
            return Plan(self._best(candidates, position, available, min_chance))
        decision_cost, margins = forecast.decision_cost, self.control.margins(position)
        protected, any_protected = [], False
        for path in candidates.starting:
            fits = (path.cost + path.decisions * decision_cost) * margins[path.stages] <= available
            protected.append(fits)
            any_protected = any_protected or fits
        if not any_protected:
            # An unlikely answer beats none. Where nothing was ever that fast, the frame is infeasible.
            heads = self._best(candidates, position, available, min_chance)
            return Plan(heads, not heads)
        if self.options.mode == 'contract':  # the most accurate one of those that are protected
            heads = next(each.heads for each in candidates.head_sets if protected[each.first])
        else:
            heads = self._best(candidates, position, available, min_chance, protected)
        path = candidates.starting[heads[0] - candidates.first]
        planned_time = slowdown * (path.cost + path.decisions * decision_cost) * margins[path.stages]
        return Plan(heads, False, heads[0], planned_time)

    def cheapest(self, budget: float, *, position: int = 0, slowdown: float | None = None) -> Plan:
        """The cheapest exit alone, for a frame that others wait for; arguments as of `plan`."""
        slowdown = self.forecast.slowdown if slowdown is None else slowdown
        candidates = self.options.at(position, None)
        index = min(range(len(candidates.single)), key=lambda i: candidates.single[i].cost)
        cheapest, heads = candidates.single[index], (candidates.first + index,)
        expected = slowdown * (cheapest.cost + cheapest.decisions * self.forecast.decision_cost)
        planned_time = expected * self.control.margins(position)[cheapest.stages]
        if planned_time <= budget:
            return Plan(heads, False, heads[0], planned_time)
        if budget > 0 and self.forecast.errors(position)[cheapest.stages].chance(budget / expected) > 0:
            return Plan(heads)
        return Plan(infeasible=True)

    def still_likely(self, exit_index: int, budget: float, position: int, slowdown: float) -> bool:
        """Whether a protected exit is likely enough to be in time to be kept; arguments as of `plan`."""
        candidates = self.options.at(position, None)
        path = candidates.single[exit_index - candidates.first]
        expected = (path.cost + path.decisions * self.forecast.decision_cost) * slowdown
        return self.forecast.errors(position)[path.stages].chance(budget / expected) >= KEEP_CHANCE

    # -- afterwards

    def learn(self, timing: FrameTiming, abandoned: int | None = None) -> None:
        """A frame has ended.

        Args:
            abandoned: the protected exit that was not evaluated because it would have been late.
        """
        errors = self.forecast.learn(timing)
        if errors:
            seen = abandoned is None or abandoned < len(timing.boundary_times) - 1
            self.control.learn(errors, None if seen or abandoned is None else abandoned + 1)

    def _best(
        self,
        candidates: Candidates,
        position: int,
        available: float,
        min_chance: float,
        protected: Sequence[bool] = (),
    ) -> tuple[int, ...]:
        """The heads of the set that adds most to the expected accuracy, if any; after an answer it must add
        something.

        Args:
            available: seconds that there are on a machine of slowdown 1.
            protected: for each head that sets begin with, whether they may; empty: if it has any chance.
        """
        errors, decision_cost = self.forecast.errors(position), self.forecast.decision_cost
        best: tuple[int, ...] = ()
        best_value = TIE if candidates.answered else -math.inf
        completions = candidates.completions
        chances: list[float | None] = [None] * len(completions)
        for head_set in candidates.head_sets:
            if head_set.max_gain <= best_value:
                break  # nor do those after it add more
            if protected and not protected[head_set.first]:
                continue
            # All heads of a set take at least what its last one takes alone, and its chance is shared by many
            # sets: most of them fall by that before anything else of them is looked up.
            last = head_set.last
            upper = chances[last]
            if upper is None:
                path = completions[last]
                factor = available / (path.cost + path.decisions * decision_cost)
                upper = chances[last] = errors[path.stages].chance(factor)
            if head_set.optional and upper < min_chance:
                continue
            value, certain = 0.0, 1.0
            for gain in head_set.gains:
                index = gain.completion
                chance = chances[index]
                if chance is None:
                    path = completions[index]
                    factor = available / (path.cost + path.decisions * decision_cost)
                    chance = chances[index] = errors[path.stages].chance(factor)
                if chance < certain:
                    certain = chance  # a head is done only if those before it are
                value += certain * gain.accuracy
            if value <= best_value or (head_set.optional and certain < min_chance):
                continue
            if protected or chances[head_set.first]:
                best, best_value = head_set.heads, value + TIE
        return best
