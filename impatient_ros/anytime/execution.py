"""One frame's execution: plan, execute a stage or a head, read the clock, plan again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from impatient_ros.answer import Answer
from impatient_ros.anytime.request import FrameObserver, FrameRequest
from impatient_ros.planning.frame_timing import FrameTiming
from impatient_ros.planning.planner import MIN_CHANCE, MIN_CHANCE_SHARED, Plan, Planner
from impatient_ros.planning.preparation_cost import PreparationCost
from impatient_ros.runtime import Runtime
from impatient_ros.runtime.base import Run

if TYPE_CHECKING:
    from impatient_ros.checkpoint import CheckpointFile

__all__ = ['FrameExecution']

ROUNDING = 1e-9  # s: what sums of floats may differ by


class FrameExecution:
    """One frame against one deadline; made anew for every frame, used by the thread that classifies.

    Args:
        planner: for the request's camera and settings.
        start: instant on `clock`, seconds, from which elapsed time counts.
        observer: told about the plan and the answers; None: nobody.
    """

    def __init__(
        self,
        checkpoint: CheckpointFile,
        runtime: Runtime,
        planner: Planner,
        request: FrameRequest,
        *,
        clock: Callable[[], float],
        start: float,
        observer: FrameObserver | None,
    ) -> None:
        self._checkpoint = checkpoint
        self._runtime = runtime
        self._planner = planner
        self._contract = planner.options.mode == 'contract'
        self._assumed_slowdown = planner.forecast.slowdown
        self._request = request
        self._settings = request.settings
        self._clock = clock
        self._start = start
        self._observer = observer
        self._share_ends = math.inf  # instant at which frames that wait want to go on
        self._timing = FrameTiming(start)
        self._planned: int | None = None  # the exit that the first plan aimed at
        self._protected: int | None = None  # the exit that it protected
        self._planned_time = math.inf  # seconds from the timing's start within which that one is planned
        self._overrun: bool | None = None  # whether it completed later; None while that is open
        self._final = False  # whether the plan's first head ends the frame: it is executed as a fused path
        self._best: Answer | None = None

    def run(self, preparation: PreparationCost) -> Answer:
        """Run the frame; returns the best answer that there is when it ends."""
        finish_late, threshold = self._settings.finish_late, self._settings.confidence_threshold
        left = self._left(self._clock()) - preparation.value
        if not finish_late and not self._planner.feasible(left):
            return self._answer(self._clock(), infeasible=True)
        image = self._request.image
        picture = image() if callable(image) else image
        run = self._runtime.begin(picture, self._checkpoint.preprocessing)
        begin = self._clock()
        self._timing.start = begin
        preparation.observe(begin - self._start)

        left = self._left(begin)
        plan = self._plan(left)
        if plan.infeasible and (finish_late or self._planner.feasible(left)):
            plan = Plan((0,))
        # Where preparation took what the budget had, nothing is executed: a miss, for the frame had been
        # accepted.
        self._planned, self._protected = plan.target, plan.protected
        self._planned_time = plan.planned_time
        if self._observer is not None:
            self._observer.planned(plan, self._assumed_slowdown)
        while plan.heads:
            if run.position <= plan.heads[0]:
                now = self._execute_stages(run, plan)
            else:
                now, answer = self._evaluate(run)
                if 0 < threshold <= answer.confidence:
                    break
            if self._final and self._timing.exit_times:
                break
            if now >= self._request.deadline() and (self._best is not None or not finish_late):
                break
            if not run.ready:
                plan = self._replan(plan, run, now)
        if self._best is not None and self._observer is not None:
            self._observer.completed(self._best)  # before learning from the frame: the answer is waited for
        self._learn(run)
        return self._best or self._answer(self._clock(), stages_executed=run.position)

    # -- planning

    def _left(self, now: float) -> float:
        """Seconds that the network may take from `now` on."""
        return self._request.deadline() - now - self._request.reserve

    def _plan(
        self, left: float, position: int = 0, answered: int | None = None, slowdown: float | None = None
    ) -> Plan:
        """The plan within the frame's share of what is left; where that is too short, the cheapest exit."""
        mine, min_chance = left, MIN_CHANCE
        if self._request.time_share is not None:
            min_chance = MIN_CHANCE_SHARED
            mine = self._request.time_share(left)
            now = self._clock()
            # What is left is not divided again and again: the share ends when it was said to end, or earlier
            # if more frames wait by now.
            self._share_ends = min(self._share_ends, now + mine) if mine < left else math.inf
            mine = min(mine, self._share_ends - now)
        plan = self._planner.plan(
            mine, position=position, answered=answered, slowdown=slowdown, min_chance=min_chance
        )
        if mine < left and plan.protected is None and answered is None:
            return self._planner.cheapest(left, position=position, slowdown=slowdown)
        return plan

    def _replan(self, plan: Plan, run: Run, now: float) -> Plan:
        """What to do next at a boundary, or with an answer in hand."""
        exit_times = self._timing.exit_times
        answered = exit_times[-1].exit_index if exit_times else None
        if answered is not None:
            plan = Plan(tuple([h for h in plan.heads if h > answered]), protected=plan.protected)
        if self._final or self._contract:
            return plan
        slowdown = self._planner.forecast.slowdown_within(run.position, self._timing.stages)
        budget = self._left(now)
        # A protected exit is kept as long as it is likely from here; at its head it is the best there is.
        if answered is None and plan.protected is not None:
            at_its_head = run.position > plan.protected
            if at_its_head or self._planner.still_likely(plan.protected, budget, run.position, slowdown):
                return plan
        changed = self._plan(budget, run.position, answered, slowdown)
        # On the way to the first answer the plan may change, never end: if the answer comes late, then from
        # the nearest exit.
        return Plan((max(run.position - 1, 0),)) if changed.infeasible else changed

    # -- executing

    def _execute_stages(self, run: Run, plan: Plan) -> float:
        """Execute the next stage, or more in one call where what follows is certain; returns its end."""
        # It is certain where the plan may not change on the way.
        toward, then = plan.heads[0], plan.heads[1] if len(plan.heads) > 1 else None
        certain = self._contract or run.position == toward
        if not certain and then is None and run.position == 0 and toward == plan.protected:
            # Nobody waits, and nothing beyond this exit is likely enough: then it is the frame's last one.
            alone = self._request.time_share is None
            certain = self._final = alone and self._planner.fused(toward)
        begin = self._clock()
        self._timing.decided(begin)
        then = then if certain and self._fits(run.position, then, begin) else None
        run.stage(toward if certain else None, then)
        now = self._clock()
        head_cost = None
        if run.ready:
            head_cost = self._planner.forecast.profile.head_cost(run.position - 1) * self._assumed_slowdown
        self._timing.stages_ended(begin, now, run.position, head_cost)
        return now

    def _fits(self, position: int, then: int | None, now: float) -> bool:
        """Whether exit `then` is forecast to be in time: what is enqueued ahead cannot be taken back.

        The plan alone does not say so: an optional exit may be unlikely.
        """
        if then is None:
            return False
        cost = self._planner.forecast.profile.quantile('interruptible', position, then, 0.5)
        return cost * self._assumed_slowdown <= self._left(now)

    def _evaluate(self, run: Run) -> tuple[float, Answer]:
        """Evaluate the head at the current position. Returns when it ended, and the best answer by then."""
        t = run.position - 1
        if not run.ready:
            self._timing.decided(self._clock())
        logits = run.exit().astype(np.float64)
        now = self._clock()
        took = self._timing.exit_ended(t, now)
        if self._protected is not None and self._overrun is None and t >= self._protected:
            self._count(took > self._planned_time + ROUNDING)
        ended = self._timing.start + took
        met = now <= self._request.deadline()
        if self._best is not None:
            accuracies = self._planner.options.accuracies
            if accuracies[t] < accuracies[self._best.exit_index or 0] or (self._best.met and not met):
                # A deeper exit can be worse, or late: then the shallower answer stands.
                return ended, self._best
        scaled = logits / self._checkpoint.temperatures[t]
        scores = np.exp(scaled - scaled.max())
        scores /= scores.sum()
        self._best = self._answer(now, t, scores, met=met, stages_executed=run.position)
        if self._observer is not None:
            self._observer.answered(self._best)
        return ended, self._best

    # -- ending

    def _learn(self, run: Run) -> None:
        abandoned = self._protected if self._overrun is None else None
        threshold = self._settings.confidence_threshold
        if self._best is not None and 0 < threshold <= self._best.confidence:
            abandoned = None  # an earlier answer was sure: the protected exit was not needed
        if abandoned is not None:
            self._count(overrun=True)
        if not self._timing.exit_times and run.position > 0:
            # A frame abandoned on its way says how long the stages took that it did execute.
            run.wait()
            self._timing.abandoned(self._clock())
        self._planner.learn(self._timing, abandoned)

    def _count(self, overrun: bool) -> None:
        self._overrun = overrun
        self._planner.control.count(overrun=overrun)

    def _answer(
        self,
        now: float,
        exit_index: int | None = None,
        probabilities: np.ndarray | None = None,
        *,
        met: bool = False,
        infeasible: bool = False,
        stages_executed: int = 0,
    ) -> Answer:
        """What comes out for the frame as it stands; without probabilities there is no answer."""
        scores = np.empty(0) if probabilities is None else probabilities
        index = None if probabilities is None else int(probabilities.argmax())
        deadline = self._request.deadline()
        return Answer(
            label=None if index is None else self._checkpoint.labels[index],
            class_index=index,
            confidence=0.0 if index is None else float(scores[index]),
            probabilities=scores,
            exit_index=exit_index,
            planned_exit_index=self._planned,
            elapsed=now - self._start,
            slack=None if math.isinf(deadline) else deadline - now,
            met=met,
            infeasible=infeasible,
            stages_executed=stages_executed,
            slowdown=self._assumed_slowdown,
            protected_exit_index=self._protected,
            overrun=self._overrun,
        )
