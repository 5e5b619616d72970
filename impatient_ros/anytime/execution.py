"""One frame's execution: plan, prepare the picture, execute a stage or a head, read the clock, plan again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from impatient_ros.answer import Answer
from impatient_ros.anytime.frame_planner import FramePlanner
from impatient_ros.anytime.request import FrameObserver, FrameRequest
from impatient_ros.planning.frame_timing import CutShort, FrameTiming
from impatient_ros.planning.planner import Plan, Planner
from impatient_ros.planning.preparation_cost import PreparationCost
from impatient_ros.runtime.base import RunCancelledError

if TYPE_CHECKING:
    from impatient_ros.anytime.paths import Paths
    from impatient_ros.runtime import Runtime
    from impatient_ros.runtime.base import Run

__all__ = ['FrameExecution']

ROUNDING = 1e-9  # s: what sums of floats may differ by


class FrameExecution:
    """One frame against one deadline; made anew for every frame, used by the thread that classifies.

    Args:
        planner: for the request's camera and settings.
        preparation: what preparing this camera's pictures takes; learns from the frame.
        start: instant on `clock`, seconds, from which elapsed time counts.
        observer: told about the plan and the answers; None: nobody.
    """

    def __init__(
        self,
        paths: Paths,
        runtime: Runtime,
        planner: Planner,
        preparation: PreparationCost,
        request: FrameRequest,
        *,
        clock: Callable[[], float],
        start: float,
        observer: FrameObserver | None,
    ) -> None:
        self._paths = paths
        self._runtime = runtime
        self._planner = planner
        self._preparation = preparation
        self._contract = planner.options.mode == 'contract'
        self._assumed_slowdown = planner.forecast.slowdown
        self._planning = FramePlanner(paths, planner, preparation, request, clock)
        self._request = request
        self._settings = request.settings
        self._clock = clock
        self._start = start
        self._observer = observer
        self._passes: list[FrameTiming] = []
        self._planned: int | None = None  # the path that the plan on the prepared picture aimed at
        self._protected: int | None = None  # the path that it protected
        self._planned_time = math.inf  # instant by which that one is planned
        self._overrun: bool | None = None  # whether it completed later; None while that is open
        self._answered: int | None = None  # the path that was evaluated last
        self._final = False  # whether the plan's first path ends the frame: it is executed as a fused path
        self._best: Answer | None = None
        self._best_path = -1

    def run(self) -> Answer:
        """Run the frame; returns the best answer that there is when it ends."""
        finish_late = self._settings.finish_late
        left = self._planning.left(self._clock()) - self._preparation.decode
        if not finish_late and not self._planning.worthwhile(left, None):
            return self._answer(self._clock(), infeasible=True)
        image = self._request.image
        picture = image() if callable(image) else image
        decoded = self._clock()
        self._preparation.observe_decode(decoded - self._start)

        run, plan = self._begin(picture, decoded)
        if self._observer is not None:
            planned, protected = (self._paths.named(path) for path in (self._planned, self._protected))
            self._observer.planned(planned, protected, self._assumed_slowdown)
        with self._request.cancellation.covering(self._runtime):
            try:
                run = self._execute(picture, run, plan)
            except RunCancelledError as cut:
                elapsed = self._clock() - self._timing.start
                self._timing.cut = CutShort(cut.position, elapsed, cut.scores)
        if self._best is not None and self._observer is not None:
            self._observer.completed(self._best)  # before learning from the frame: the answer is waited for
        self._learn(run)
        return self._best or self._answer(self._clock())

    def _execute(self, picture: np.ndarray, run: Run, plan: Plan) -> Run:
        """Execute what is planned until nothing is any more. Returns the pass in progress.

        Raises:
            RunCancelledError: it was stopped on its way.
        """
        finish_late, threshold = self._settings.finish_late, self._settings.confidence_threshold
        cancellation = self._request.cancellation
        while plan.paths and not cancellation.requested:
            resolution, exit_index = self._paths.split(plan.paths[0])
            if resolution != self._timing.resolution:
                run, now = self._prepare(picture, resolution)
            elif run.position <= exit_index:
                now = self._execute_stages(run, plan)
            else:
                now, answer = self._evaluate(run)
                if answer.sure(threshold):
                    break
            if self._final and self._best is not None:
                break
            if now >= self._request.deadline() and (self._best is not None or not finish_late):
                break
            if not run.ready:
                plan = self._replan(plan, run, now)
        return run

    @property
    def _timing(self) -> FrameTiming:
        """That of the pass in progress."""
        return self._passes[-1]

    # -- planning

    def _begin(self, picture: np.ndarray, now: float) -> tuple[Run, Plan]:
        """Prepare the picture at the resolution that is planned for, and plan with what is left then."""
        left = self._planning.left(now)
        resolution = 0
        if self._paths.resolutions > 1:
            first = self._planning.plan(left, None)
            resolution = self._paths.split(first.paths[0])[0] if first.paths else 0
        while True:
            run, now = self._prepare(picture, resolution)
            left = self._planning.left(now)
            plan = self._planning.plan(left, resolution)
            # Where preparation took so long that there is time for a lower resolution only, it is made anew.
            lower = self._paths.split(plan.paths[0])[0] if plan.paths else resolution
            if lower == resolution:
                break
            resolution = lower
        if plan.infeasible and (self._settings.finish_late or self._planning.worthwhile(left, resolution)):
            plan = Plan((self._paths.joined(resolution, 0),))
        # Where preparation took what the budget had, nothing is executed: a miss, for the frame had been
        # accepted.
        self._planned, self._protected = plan.target, plan.protected
        self._planned_time = now + plan.planned_time
        return run, plan

    def _replan(self, plan: Plan, run: Run, now: float) -> Plan:
        if self._answered is not None:
            answered = self._answered
            plan = Plan(tuple([k for k in plan.paths if k > answered]), protected=plan.protected)
        if self._final or self._contract:
            return plan
        return self._planning.replan(plan, self._timing, run.position, now, self._answered)

    # -- executing

    def _prepare(self, picture: np.ndarray, resolution: int) -> tuple[Run, float]:
        """Begin a pass. Returns it and the instant at which its first stage may begin."""
        before = self._clock()
        run = self._runtime.begin(picture, self._paths.preprocessing[resolution])
        now = self._clock()
        self._preparation.observe_resize(resolution, now - before)
        if self._passes and len(self._timing.boundary_times) == 1:
            self._passes.pop()  # nothing of it was executed
        self._passes.append(FrameTiming(now, resolution=resolution))
        return run, now

    def _execute_stages(self, run: Run, plan: Plan) -> float:
        """Execute the next stage, or more in one call where what follows is certain; returns its end."""
        # It is certain where the plan may not change on the way.
        resolution, toward = self._paths.split(plan.paths[0])
        following, then = self._paths.split(plan.paths[1]) if len(plan.paths) > 1 else (resolution, None)
        certain = self._contract or run.position == toward
        if not certain and then is None and run.position == 0 and plan.paths[0] == plan.protected:
            # Nobody waits, and nothing beyond this exit is likely enough: then it is the frame's last one.
            alone = self._request.time_share is None
            certain = self._final = alone and self._planner.fused(plan.paths[0])
        begin = self._clock()
        self._timing.decided(begin)
        ahead = (
            then if certain and following == resolution and self._fits(run.position, then, begin) else None
        )
        run.stage(toward if certain else None, ahead)
        now = self._clock()
        head_cost = None
        if run.ready:
            profile = self._planner.forecast.profiles[resolution]
            head_cost = profile.head_cost(run.position - 1) * self._assumed_slowdown
        self._timing.stages_ended(begin, now, run.position, head_cost)
        return now

    def _fits(self, position: int, then: int | None, now: float) -> bool:
        """Whether exit `then` of the pass is forecast to be in time: what is enqueued ahead cannot be taken
        back.

        The plan alone does not say so: an optional exit may be unlikely.
        """
        if then is None:
            return False
        profile = self._planner.forecast.profiles[self._timing.resolution]
        cost = profile.quantile('interruptible', position, then, 0.5)
        return cost * self._assumed_slowdown <= self._planning.left(now)

    def _evaluate(self, run: Run) -> tuple[float, Answer]:
        """Evaluate the head at the current position. Returns when it ended, and the best answer by then."""
        t = run.position - 1
        path = self._paths.joined(self._timing.resolution, t)
        if not run.ready:
            self._timing.decided(self._clock())
        logits = run.exit()
        now = self._clock()
        ended = self._timing.start + self._timing.exit_ended(t, now)
        self._answered = path
        if self._protected is not None and self._overrun is None and path >= self._protected:
            self._count(ended > self._planned_time + ROUNDING)
        met = now <= self._request.deadline()
        if self._best is not None:
            accuracies = self._planner.options.accuracies
            if accuracies[path] < accuracies[self._best_path] or (self._best.met and not met):
                # A deeper exit can be worse, or late: then the answer in hand stands.
                return ended, self._best
        self._best_path = path
        self._best = self._answer(now, path, logits, met=met)
        if self._observer is not None:
            self._observer.answered(self._best)
        return ended, self._best

    # -- ending

    def _learn(self, run: Run) -> None:
        abandoned = self._protected if self._overrun is None else None
        threshold = self._settings.confidence_threshold
        if self._best is not None and self._best.sure(threshold):
            abandoned = None  # an earlier answer was sure: the protected path was not needed
        if abandoned is not None:
            self._count(overrun=True)
        if not self._timing.exit_times and run.position > 0 and self._timing.cut is None:
            # A pass abandoned on its way says how long the stages took that it did execute.
            run.wait()
            self._timing.abandoned(self._clock())
        self._planner.learn(self._passes, abandoned)

    def _count(self, overrun: bool) -> None:
        self._overrun = overrun
        self._planner.control.count(overrun=overrun)

    def _answer(
        self,
        now: float,
        path: int | None = None,
        logits: np.ndarray | None = None,
        *,
        met: bool = False,
        infeasible: bool = False,
    ) -> Answer:
        """What comes out for the frame as it stands; without logits there is no answer."""
        deadline = self._request.deadline()
        planned, protected = self._paths.named(self._planned), self._paths.named(self._protected)
        return Answer(
            **self._paths.classification(path, logits, self._settings.unknown_below),
            planned_exit_index=None if planned is None else planned.exit_index,
            planned_resolution=None if planned is None else planned.resolution,
            elapsed=now - self._start,
            slack=None if math.isinf(deadline) else deadline - now,
            met=met,
            infeasible=infeasible,
            stages_executed=sum(len(each.boundary_times) - 1 for each in self._passes),
            slowdown=self._assumed_slowdown,
            protected_exit_index=None if protected is None else protected.exit_index,
            overrun=self._overrun,
        )
