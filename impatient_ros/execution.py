"""The course of one frame through the network: plan, execute a stage or a head, look at the clock, plan
again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from impatient_ros.answer import Answer
from impatient_ros.latency import Slowdown
from impatient_ros.planner import Plan, Planner
from impatient_ros.preparation import PreparationCost
from impatient_ros.runtime import Runtime
from impatient_ros.runtime.base import Run

if TYPE_CHECKING:
    from impatient_ros.checkpoint import Checkpoint

__all__ = ['FrameExecution', 'Image']

Image = np.ndarray | Callable[[], np.ndarray]


class FrameExecution:
    """One frame against one deadline; made anew for every frame.

    Args:
        start: instant on `clock`, seconds, from which elapsed time counts.
        deadline: says the deadline on `clock`, seconds, whenever it is asked: it may be infinite, and it
            may move. reserve, delay_price, on_plan, on_answer, finish_late: see `AnytimeClassifier.classify`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        runtime: Runtime,
        planner: Planner,
        slowdown: Slowdown,
        *,
        clock: Callable[[], float],
        start: float,
        deadline: Callable[[], float],
        reserve: float,
        delay_price: float,
        confidence_threshold: float,
        on_plan: Callable[[int | None, float], None] | None,
        on_answer: Callable[[Answer], None] | None,
        finish_late: bool,
    ) -> None:
        self._checkpoint = checkpoint
        self._runtime = runtime
        self._planner = planner
        self._slowdown = slowdown
        self._assumed_slowdown = slowdown.value
        self._clock = clock
        self._start = start
        self._deadline = deadline
        self._reserve = reserve
        self._delay_price = delay_price
        self._confidence_threshold = confidence_threshold
        self._on_plan = on_plan
        self._on_answer = on_answer
        self._finish_late = finish_late
        self._planned: int | None = None
        self._evaluated: list[int] = []  # heads, in the order of their evaluation
        self._best: Answer | None = None
        self._finished = start  # when the latest head was done

    def classify(self, image: Image, preparation: PreparationCost) -> Answer:
        """Run the frame; returns the best answer that there is when it ends."""
        plan = self._plan(overhead=preparation.value)
        if plan.infeasible and not self._finish_late:
            return self._nothing(infeasible=True)
        picture = image() if callable(image) else image
        run = self._runtime.begin(picture, self._checkpoint.preprocessing)
        begin = self._clock()
        preparation.observe(begin - self._start)

        plan = self._plan()
        if plan.infeasible and self._finish_late:
            plan = Plan((0,))
        # Where preparation took what the budget had, nothing is executed: a miss, for the frame had been
        # accepted.
        self._planned = plan.target
        if self._on_plan is not None:
            self._on_plan(self._planned, self._assumed_slowdown)
        promise = plan.protected
        while plan.heads:
            if run.position <= plan.heads[0]:
                # What comes next is certain where the plan may not change on the way.
                certain = self._planner.mode == 'contract' or run.position == plan.heads[0]
                toward, then = plan.heads[0], plan.heads[1] if len(plan.heads) > 1 else None
                run.stage(toward if certain else None, then if certain else None)
            else:
                answer = self._evaluate(run)
                if promise is not None and len(self._evaluated) == 1:
                    late = self._finished > self._deadline() - self._reserve
                    self._slowdown.judge(late or self._evaluated[0] < promise)
                if 0 < self._confidence_threshold <= answer.confidence:
                    break
            if self._clock() >= self._deadline() and (self._best is not None or not self._finish_late):
                break
            if not run.ready:
                plan = self._next(plan, run)
        self._learn(run, begin, promise)
        return self._best or self._nothing(stages_executed=run.position)

    def _plan(self, overhead: float = 0.0, position: int = 0) -> Plan:
        return self._planner.plan(
            self._deadline() - self._clock() - self._reserve - overhead,
            position=position,
            answered=self._evaluated[-1] if self._evaluated else None,
            slowdown=self._assumed_slowdown,
            delay_price=self._delay_price,
        )

    def _next(self, plan: Plan, run: Run) -> Plan:
        done = self._evaluated[-1] if self._evaluated else -1
        left = Plan(tuple(h for h in plan.heads if h > done))
        if self._planner.mode == 'contract':
            return left
        again = self._plan(position=run.position)
        if again.infeasible:
            # On the way to the first answer the plan may move, never end: if it comes late, then from the
            # nearest exit.
            return Plan((max(run.position - 1, 0),))
        return again

    def _evaluate(self, run: Run) -> Answer:
        t = run.position - 1
        logits = run.exit().astype(np.float64)
        self._finished = now = self._clock()
        self._evaluated.append(t)
        accuracies = self._planner.accuracies
        if self._best is not None and accuracies[t] < accuracies[self._best.exit_index or 0]:
            return self._best  # a deeper exit can be worse: then the shallower answer stands
        scaled = logits / self._checkpoint.temperatures[t]
        scores = np.exp(scaled - scaled.max())
        scores /= scores.sum()
        index = int(scores.argmax())
        self._best = Answer(
            label=self._checkpoint.labels[index],
            class_index=index,
            confidence=float(scores[index]),
            probabilities=scores,
            exit_index=t,
            planned_exit_index=self._planned,
            elapsed=now - self._start,
            slack=self._slack(now),
            met=now <= self._deadline(),
            stages_executed=run.position,
            slowdown=self._assumed_slowdown,
        )
        if self._on_answer is not None:
            self._on_answer(self._best)
        return self._best

    def _learn(self, run: Run, begin: float, promise: int | None) -> None:
        profile = self._planner.profile
        if self._evaluated:
            self._slowdown.observe(self._finished - begin, profile.expected(0, self._evaluated))
        elif run.position > 0:
            if promise is not None:
                self._slowdown.judge(True)
            # A frame abandoned on its way says how long the stages took that it did execute.
            run.wait()
            usual = profile.expected(0, (run.position - 1,)) - profile.head(run.position - 1)
            self._slowdown.observe(self._clock() - begin, usual)

    def _slack(self, now: float) -> float | None:
        deadline = self._deadline()
        return None if math.isinf(deadline) else deadline - now

    def _nothing(self, *, infeasible: bool = False, stages_executed: int = 0) -> Answer:
        now = self._clock()
        return Answer(
            label=None,
            class_index=None,
            confidence=0.0,
            probabilities=np.empty(0),
            exit_index=None,
            planned_exit_index=self._planned,
            elapsed=now - self._start,
            slack=self._slack(now),
            met=False,
            infeasible=infeasible,
            stages_executed=stages_executed,
            slowdown=self._assumed_slowdown,
        )
