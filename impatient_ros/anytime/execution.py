"""The course of one frame through the network: plan, execute a stage or a head, look at the clock, plan
again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from impatient_ros.answer import Answer
from impatient_ros.planning.planner import LEAST_CHANCE_SHARED, Plan, Planner
from impatient_ros.planning.preparation_cost import PreparationCost
from impatient_ros.runtime import Runtime
from impatient_ros.runtime.base import Run

if TYPE_CHECKING:
    from impatient_ros.checkpoint import CheckpointFile

__all__ = ['FrameExecution', 'Image']

ROUNDING = 1e-9  # s: what sums of floats may differ by

Image = np.ndarray | Callable[[], np.ndarray]


class FrameExecution:
    """One frame against one deadline; made anew for every frame.

    Args:
        start: instant on `clock`, seconds, from which elapsed time counts.
        deadline: says the deadline on `clock`, seconds, whenever it is asked: it may be infinite, and it
            may move.
        reserve, delay_price, on_plan, on_answer, on_final, finish_late, share: see
            `AnytimeClassifier.classify`.
    """

    def __init__(
        self,
        checkpoint: CheckpointFile,
        runtime: Runtime,
        planner: Planner,
        *,
        clock: Callable[[], float],
        start: float,
        deadline: Callable[[], float],
        reserve: float,
        delay_price: float,
        confidence_threshold: float,
        on_plan: Callable[[Plan, float], None] | None,
        on_answer: Callable[[Answer], None] | None,
        on_final: Callable[[Answer], None] | None = None,
        finish_late: bool,
        share: Callable[[float], float] | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._runtime = runtime
        self._planner = planner
        self._forecast = planner.forecast
        self._assumed_slowdown = planner.forecast.level
        self._clock = clock
        self._start = start
        self._deadline = deadline
        self._reserve = reserve
        self._delay_price = delay_price
        self._confidence_threshold = confidence_threshold
        self._on_plan = on_plan
        self._on_answer = on_answer
        self._on_final = on_final
        self._finish_late = finish_late
        self._share = share
        self._part_ends = math.inf  # instant at which others want to go on
        self._planned: int | None = None
        self._begin = start  # when the first stage may start
        self._last = False  # whether the plan's first head ends the frame: it is headed for in one go
        # Seconds from `_begin` to each boundary; NaN for those that were passed in one go with what follows.
        self._marks: list[float] = []
        self._latest = 0.0  # seconds from `_begin` to the latest boundary or scores
        self._staged = 0.0  # seconds that stages took
        self._deciding = 0.0  # seconds between what was executed
        self._evaluated: list[tuple[int, float]] = []  # heads with the seconds from `_begin` to their scores
        self._protected: int | None = None  # the exit that was promised
        self._promised: int | None = None  # the same, until it is judged
        self._promise = math.inf  # seconds from `_begin` within which it was
        self._overrun: bool | None = None  # whether the promise was late
        self._best: Answer | None = None

    def classify(self, image: Image, preparation: PreparationCost) -> Answer:
        """Run the frame; returns the best answer that there is when it ends."""
        left = self._left(self._clock()) - preparation.value
        if not self._finish_late and not self._planner.feasible(left):
            return self._nothing(infeasible=True)
        picture = image() if callable(image) else image
        run = self._runtime.begin(picture, self._checkpoint.preprocessing)
        self._begin = self._clock()
        self._marks.append(0.0)
        preparation.observe(self._begin - self._start)

        left = self._left(self._begin)
        plan = self._shared(left)
        if plan.infeasible and (self._finish_late or self._planner.feasible(left)):
            plan = Plan((0,))
        # Where preparation took what the budget had, nothing is executed: a miss, for the frame had been
        # accepted.
        self._planned = plan.target
        self._protected = self._promised = plan.protected
        self._promise = plan.promise
        if self._on_plan is not None:
            self._on_plan(plan, self._assumed_slowdown)
        while plan.heads:
            if run.position <= plan.heads[0]:
                now = self._advance(run, plan)
            else:
                answer = self._evaluate(run)
                now = self._begin + self._evaluated[-1][1]
                if 0 < self._confidence_threshold <= answer.confidence:
                    break
            if self._last and self._evaluated:
                break
            if now >= self._deadline() and (self._best is not None or not self._finish_late):
                break
            if not run.ready:
                plan = self._next(plan, run, now)
        if self._best is not None and self._on_final is not None:
            self._on_final(self._best)  # before learning from the frame: the answer is waited for
        self._end(run)
        return self._best or self._nothing(stages_executed=run.position)

    def _advance(self, run: Run, plan: Plan) -> float:
        """Execute the next stage, or more in one go where what follows is certain; returns when it ended."""
        # It is certain where the plan may not change on the way.
        toward, then = plan.heads[0], plan.heads[1] if len(plan.heads) > 1 else None
        certain = self._planner.mode == 'contract' or run.position == toward
        if not certain and then is None and run.position == 0 and toward == plan.protected:
            # Nobody waits, and nothing beyond this exit is likely enough: then it is the frame's last one.
            certain = self._last = self._share is None and self._planner.in_one_go(toward)
        begin = self._decided_at()
        then = then if certain and self._fits(run.position, then, begin) else None
        run.stage(toward if certain else None, then)
        now = self._clock()
        passed, took = run.position - len(self._marks) + 1, now - begin
        self._latest = now - self._begin
        if run.ready:
            took -= min(took, self._planner.profile.head(run.position - 1) * self._assumed_slowdown)
        self._staged += took
        self._marks += [math.nan] * (passed - 1) + [math.nan if run.ready else self._latest]
        return now

    def _decided_at(self) -> float:
        """The instant at which a decision is made and what it says begins."""
        now = self._clock()
        self._deciding += now - self._begin - self._latest
        return now

    def _fits(self, position: int, then: int | None, now: float) -> bool:
        """Whether exit `then` is predicted to be there in time: what is enqueued ahead cannot be taken back.

        The plan alone does not say so: once an answer is in hand, it gambles.
        """
        if then is None:
            return False
        cost = self._planner.profile.quantile('interruptible', position, then, 0.5)
        return cost * self._assumed_slowdown <= self._left(now)

    def _left(self, now: float) -> float:
        """Seconds that the network may take from `now` on."""
        return self._deadline() - now - self._reserve

    def _shared(self, left: float, **where: Any) -> Plan:
        """The plan within the frame's share of what is left; where that is too short, the first exit."""
        if self._share is None:
            return self._planner.plan(left, delay_price=self._delay_price, **where)
        mine = self._share(left)
        now = self._clock()
        # What is left is not divided again and again: the part ends when it was said to end, or earlier if
        # more frames wait by now.
        self._part_ends = min(self._part_ends, now + mine) if mine < left else math.inf
        mine = min(mine, self._part_ends - now)
        plan = self._planner.plan(
            mine, delay_price=self._delay_price, least_chance=LEAST_CHANCE_SHARED, **where
        )
        if mine < left and plan.protected is None and where.get('answered') is None:
            where.pop('answered', None)
            return self._planner.least(left, **where)
        return plan

    def _next(self, plan: Plan, run: Run, now: float) -> Plan:
        done = self._evaluated[-1][0] if self._evaluated else None
        if done is None:
            left = plan
        else:
            left = Plan(tuple([h for h in plan.heads if h > done]), protected=plan.protected)
        if self._last or self._planner.mode == 'contract':
            return left
        level = self._forecast.level_within(run.position, self._staged)
        budget = self._left(now)
        promised = plan.protected
        # What was promised is kept as long as it is safe from here; at its head it is the best there is.
        if done is None and promised is not None:
            at_its_head = run.position > promised
            if at_its_head or self._planner.holds(promised, budget, run.position, level):
                return left
        again = self._shared(budget, position=run.position, answered=done, slowdown=level)
        # On the way to the first answer the plan may move, never end: if it comes late, then from the nearest
        # exit.
        return Plan((max(run.position - 1, 0),)) if again.infeasible else again

    def _evaluate(self, run: Run) -> Answer:
        t = run.position - 1
        if not run.ready:
            self._decided_at()
        logits = run.exit().astype(np.float64)
        now = self._clock()
        self._latest = now - self._begin
        self._evaluated.append((t, self._latest))
        if self._promised is not None and t >= self._promised:
            self._judge(now - self._begin > self._promise + ROUNDING)
        met = now <= self._deadline()
        if self._best is not None:
            accuracies = self._planner.accuracies
            if accuracies[t] < accuracies[self._best.exit_index or 0] or (self._best.met and not met):
                # A deeper exit can be worse, or late: then the shallower answer stands.
                return self._best
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
            met=met,
            stages_executed=run.position,
            slowdown=self._assumed_slowdown,
            promised_exit_index=self._protected,
            overrun=self._overrun,
        )
        if self._on_answer is not None:
            self._on_answer(self._best)
        return self._best

    def _judge(self, late: bool) -> None:
        self._overrun, self._promised = late, None
        self._forecast.promised(late)

    def _end(self, run: Run) -> None:
        confidence = 0.0 if self._best is None else self._best.confidence
        sure = 0 < self._confidence_threshold <= confidence
        given_up = None if sure else self._promised  # done without since an earlier answer was sure: kept
        if given_up is not None:
            self._judge(True)
        if not self._evaluated and run.position > 0:
            # A frame abandoned on its way says how long the stages took that it did execute.
            run.wait()
            self._marks[-1] = self._clock() - self._begin
        self._forecast.learn(self._marks, self._evaluated, given_up, self._deciding)

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
            promised_exit_index=self._protected,
            overrun=self._overrun,
        )
