"""Which exits to evaluate for which budget. Pure: no torch, no ROS, no clock.

A plan is the set of heads still to be evaluated, in order; the last one is the target. The three modes are
one search over such sets:

- contract: exactly one head, the target (Russell & Zilberstein's contract algorithms);
- interruptible: every head on the way to the target (anytime prediction);
- adaptive: the target and at most one earlier head, its insurance, chosen for the highest expected accuracy.

The first head that a plan evaluates is protected: it is only planned where the q-quantile of its cost,
times the machine's slowdown, fits the budget. Everything after it is a gamble that costs nothing but time,
and is taken by expectation: P(done in time) * gain in accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from impatient_ros.latency import LatencyProfile

__all__ = ['MODES', 'Plan', 'Planner']

MODES = ('contract', 'interruptible', 'adaptive')


@dataclass(frozen=True)
class Plan:
    """What to do next with a frame.

    Attributes:
        heads: exits still to be evaluated, ascending; empty: stop here.
        infeasible: there is no answer yet and not even the cheapest exit can be in time.
        protected: the exit whose completion in time is promised at the planner's quantile, if any.
    """

    heads: tuple[int, ...] = ()
    infeasible: bool = False
    protected: int | None = None

    @property
    def target(self) -> int | None:
        """The exit that the plan aims at."""
        return self.heads[-1] if self.heads else None


class Planner:
    """Plans frames on a latency profile.

    Args:
        profile: of the machine and runtime that will execute the plans.
        accuracies: validation accuracy of each exit, 0..1.
        mode: one of `MODES`.
        miss_rate: 1 - q, the accepted risk of a protected answer.

    Raises:
        ValueError: unknown mode, or not one accuracy per exit.
    """

    def __init__(
        self,
        profile: LatencyProfile,
        accuracies: Sequence[float],
        mode: str = 'adaptive',
        miss_rate: float = 0.01,
    ) -> None:
        if len(accuracies) != profile.exits:
            raise ValueError(f'{len(accuracies)} accuracies for {profile.exits} exits; give one per exit')
        self.accuracies = tuple(float(a) for a in accuracies)
        self.profile = profile
        self.miss_rate = miss_rate
        self.mode = mode

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f'mode is {mode!r}; write one of {", ".join(MODES)}')
        self._mode = mode

    @property
    def miss_rate(self) -> float:
        return self._miss_rate

    @miss_rate.setter
    def miss_rate(self, miss_rate: float) -> None:
        if not 0 < miss_rate < 1:
            raise ValueError(f'miss_rate is {miss_rate!r}; give a share between 0 and 1, such as 0.01')
        self._miss_rate = miss_rate
        # One row of quantiles per boundary, looked up on every frame.
        p = self.profile
        self._protected_costs = [
            [p.quantile('contract', s, t, 1 - miss_rate) if s <= t + 1 else 0.0 for t in range(p.exits)]
            for s in range(p.exits + 1)
        ]

    def plan(
        self,
        budget: float,
        *,
        position: int = 0,
        answered: int | None = None,
        slowdown: float = 1.0,
        delay_price: float = 0.0,
    ) -> Plan:
        """The plan for a frame from where it stands.

        Args:
            budget: seconds from now to the deadline, less everything that is not the network (decode,
                preprocessing, publishing).
            position: number of stages already executed.
            answered: the exit whose answer is in hand, if any. Heads up to it are done.
            slowdown: of the machine against the profile.
            delay_price: accuracy per second that waiting frames lose by a further delay; 0 with none waiting.
        """
        available = budget / slowdown
        first = position - 1 if answered is None else max(position - 1, answered + 1)
        candidates = range(max(0, first), self.profile.exits)
        if not candidates:
            return Plan()
        if answered is not None:
            return self._go_on(
                available, position, candidates, self.accuracies[answered], delay_price * slowdown
            )
        costs = self._protected_costs[position]
        if self.mode == 'interruptible':
            # Heads are met one by one, so the first one is the protected one and the rest follows by
            # expectation.
            first_exit = candidates[0]
            if costs[first_exit] <= available:
                return Plan(
                    (first_exit, *self._deeper(available, position, first_exit)), protected=first_exit
                )
            return self._hope(available, position, candidates)
        feasible = [t for t in candidates if costs[t] <= available]
        if not feasible:
            return self._hope(available, position, candidates)
        if self.mode == 'contract':
            target = max(feasible, key=lambda t: (self.accuracies[t], -t))
            return Plan((target,), protected=target)
        return self._insured(available, position, feasible, candidates)

    def _hope(self, available: float, position: int, candidates: Sequence[int]) -> Plan:
        # Nothing fits at the quantile. The cheapest exit is still tried where it has been that fast before:
        # an unlikely answer beats none. Where it never was, the frame is infeasible.
        cheapest = min(candidates, key=lambda t: self.profile.quantile('contract', position, t, 0.5))
        if self.profile.quantile('contract', position, cheapest, 0.0) <= available:
            return Plan((cheapest,))
        return Plan(infeasible=True)

    def _deeper(self, available: float, position: int, first_exit: int) -> tuple[int, ...]:
        # How far every-head-on-the-way is expected to come: what an interruptible run announces as its
        # target.
        last = first_exit
        for t in range(first_exit + 1, self.profile.exits):
            if self.profile.quantile('interruptible', min(position, t), t, 0.5) > available:
                break
            last = t
        return tuple(range(first_exit + 1, last + 1))

    def _insured(
        self, available: float, position: int, feasible: Sequence[int], candidates: Sequence[int]
    ) -> Plan:
        best, best_value = Plan(), -1.0
        for target in candidates:
            alone = self.profile.probability('contract', position, target, available)
            if target in feasible and alone * self.accuracies[target] > best_value:
                best, best_value = Plan((target,), protected=target), alone * self.accuracies[target]
            for early in feasible:
                if early >= target:
                    break
                reached = self.profile.probability('contract', position, early, available)
                left = available - self.profile.head(early)
                done = min(reached, self.profile.probability('contract', position, target, left))
                value = done * self.accuracies[target] + (reached - done) * self.accuracies[early]
                if value > best_value:
                    best, best_value = Plan((early, target), protected=early), value
        return best

    def _go_on(
        self, available: float, position: int, candidates: Sequence[int], accuracy: float, price: float
    ) -> Plan:
        # An answer is in hand: a deeper head is worth its time or not.
        best: tuple[int, ...] = ()
        best_value = 0.0
        for t in candidates:
            likely = self.profile.probability('contract', position, t, available)
            value = likely * (self.accuracies[t] - accuracy)
            value -= price * self.profile.quantile('contract', position, t, 0.5)
            # Beyond all samples `likely` is not 0: what has never been that fast is not started.
            possible = self.profile.quantile('contract', position, t, 0.0) <= available
            if possible and value > best_value:
                best, best_value = (t,), value
        if best and self.mode == 'interruptible':
            return Plan(tuple(range(candidates[0], best[0] + 1)))
        return Plan(best)
