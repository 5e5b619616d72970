"""Which exits to evaluate for which budget. Pure: no torch, no ROS, no clock.

A plan is the set of heads still to be evaluated, in order; the last one is the target. One search over such
sets makes the three modes; they differ only in which sets they consider:

- contract: exactly one head, the target (Russell & Zilberstein's contract algorithms);
- interruptible: every head on the way to the target (anytime prediction);
- adaptive: the target and at most one earlier head, its insurance.

A set is worth its expected accuracy: what each of its heads adds to the answer in hand, times the probability
that it is done in time. While there is no answer, the first head of a set must be *protected*: the
1 - miss_rate quantile of its cost fits the budget. Everything after the first answer is a gamble that costs
nothing but time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from impatient_ros.forecast import Forecast
from impatient_ros.latency import LatencyProfile

__all__ = ['LEAST_CHANCE', 'LEAST_CHANCE_SHARED', 'MODES', 'Plan', 'Planner']

MODES = ('contract', 'interruptible', 'adaptive')
# A gamble with less is not taken: it would mostly hold up the frames after this one.
LEAST_CHANCE = 0.1
LEAST_CHANCE_SHARED = 0.9  # while other frames wait: a stage that is launched cannot be stopped
TIE = 1e-9  # of accuracy: sets that differ less are equal, and the one with fewer heads is taken


@dataclass(frozen=True)
class Plan:
    """What to do next with a frame.

    Attributes:
        heads: exits still to be evaluated, ascending; empty: stop here.
        infeasible: there is no answer yet and not even the cheapest exit can be in time.
        protected: the exit whose completion in time is promised at the planner's quantile, if any.
        promise: seconds from now within which it is promised.
    """

    heads: tuple[int, ...] = ()
    infeasible: bool = False
    protected: int | None = None
    promise: float = field(default=math.inf, compare=False)

    @property
    def target(self) -> int | None:
        """The exit that the plan aims at."""
        return self.heads[-1] if self.heads else None


@dataclass(frozen=True)
class _Completion:
    """Being done with a head, after certain others."""

    head: int
    stages: int  # from where the frame stands
    cost: float  # s, profile median
    log_cost: float


@dataclass(frozen=True)
class _Option:
    """A set of heads and, for each of them, the index of its completion."""

    heads: tuple[int, ...]
    parts: tuple[int, ...]


class Planner:
    """Plans frames on a latency profile.

    Args:
        profile: of the machine and runtime that will execute the plans.
        accuracies: validation accuracy of each exit, 0..1.
        mode: one of `MODES`.
        miss_rate: 1 - q, the accepted risk of a protected answer.
        forecast: of costs at the moment; without one the profile is taken as it is.

    Raises:
        ValueError: unknown mode, or not one accuracy per exit.
    """

    def __init__(
        self,
        profile: LatencyProfile,
        accuracies: Sequence[float],
        mode: str = 'adaptive',
        miss_rate: float = 0.01,
        forecast: Forecast | None = None,
    ) -> None:
        if len(accuracies) != profile.exits:
            raise ValueError(f'{len(accuracies)} accuracies for {profile.exits} exits; give one per exit')
        self.accuracies = tuple(float(a) for a in accuracies)
        self.profile = profile
        self.forecast = forecast or Forecast(profile)
        self.miss_rate = miss_rate
        self.mode = mode

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f'mode is {mode!r}; write one of {", ".join(MODES)}')
        T = self.profile.exits
        # What there is to choose from, by the stages executed and the first head still open.
        self._choices = {
            (position, first): self._choice(mode, position, first)
            for position in range(T + 1)
            for first in range(max(0, position - 1), T)
        }
        self._mode = mode

    @property
    def miss_rate(self) -> float:
        return self.forecast.rate

    @miss_rate.setter
    def miss_rate(self, miss_rate: float) -> None:
        if not 0 < miss_rate < 1:
            raise ValueError(f'miss_rate is {miss_rate!r}; give a share between 0 and 1, such as 0.01')
        self.forecast.rate = miss_rate

    def plan(
        self,
        budget: float,
        *,
        position: int = 0,
        answered: int | None = None,
        slowdown: float | None = None,
        delay_price: float = 0.0,
        least_chance: float = LEAST_CHANCE,
    ) -> Plan:
        """The plan for a frame from where it stands.

        Args:
            budget: seconds from now to the deadline, less everything that is not the network (decode,
                preprocessing, publishing).
            position: number of stages already executed.
            answered: the exit whose answer is in hand, if any. Heads up to it are done.
            slowdown: of the machine against the profile; None: the forecast's level.
            least_chance: a gamble less likely to be done in time is not taken.
            delay_price: accuracy per second that waiting frames lose by a further delay; 0 with none waiting.
        """
        first = max(0, position - 1) if answered is None else max(position - 1, answered + 1)
        nothing = Plan(infeasible=answered is None)
        if first >= self.profile.exits or not budget > 0:
            return nothing
        level = self.forecast.level if slowdown is None else slowdown
        log_available = math.log(budget / level) if budget < math.inf else math.inf
        completions, options = self._choices[position, first]
        errors = self.forecast.errors(position)
        likely = [errors[c.stages].chance(log_available - c.log_cost) for c in completions]
        price = delay_price * level
        if answered is not None:
            base = self.accuracies[answered]
            return Plan(self._best(completions, options, likely, price, base, base, least_chance=least_chance))
        # The completions begin with each head as the first one.
        margins = self.forecast.log_margins(position)
        promised = [c.log_cost + margins[c.stages] for c in completions[: self.profile.exits - first]]
        safe = [o for o in options if promised[o.heads[0] - first] <= log_available]
        if not safe:
            # An unlikely answer beats none. Where nothing was ever that fast, the frame is infeasible.
            heads = self._best(completions, options, likely, 0.0, least_chance=least_chance)
            return Plan(heads, infeasible=not heads)
        if self._mode == 'contract':
            likely = [1.0] * len(likely)  # the most accurate one of those that are protected
        heads = self._best(completions, safe, likely, price, least_first=-1.0, least_chance=least_chance)
        seconds = level * math.exp(promised[heads[0] - first])
        return Plan(heads, protected=heads[0], promise=seconds)

    def least(self, budget: float, *, position: int = 0, slowdown: float | None = None) -> Plan:
        """The cheapest exit alone, for a frame without an answer that others wait for; arguments as of `plan`."""
        level = self.forecast.level if slowdown is None else slowdown
        completions, _ = self._choices[position, max(0, position - 1)]
        singles = completions[: self.profile.exits - max(0, position - 1)]
        cheapest = min(singles, key=lambda completion: completion.cost)
        promise = level * cheapest.cost * math.exp(self.forecast.log_margin(cheapest.stages, position))
        if promise <= budget:
            return Plan((cheapest.head,), protected=cheapest.head, promise=promise)
        available = math.log(budget / level) if budget > 0 else -math.inf
        likely = self.forecast.errors(position)[cheapest.stages].chance(available - cheapest.log_cost)
        return Plan((cheapest.head,)) if likely > 0 else Plan(infeasible=True)

    def holds(self, exit_index: int, budget: float, position: int, slowdown: float) -> bool:
        """Whether an exit that was promised can still be promised from there; arguments as of `plan`."""
        stages = exit_index + 1 - position
        cost = self.profile.quantile('contract', position, exit_index, 0.5)
        return cost * slowdown * math.exp(self.forecast.log_margin(stages, position)) <= budget

    def _best(
        self,
        completions: Sequence[_Completion],
        options: Sequence[_Option],
        likely: Sequence[float],
        price: float,
        base: float = 0.0,
        least_value: float = -math.inf,
        *,
        least_first: float = 0.0,
        least_chance: float,
    ) -> tuple[int, ...]:
        """The heads of the option with the highest expected accuracy above `least_value`, if any.

        `base` is the accuracy of the answer in hand. The chance of an option's first head must exceed
        `least_first`; gambles (after a first head or that answer) need `least_chance`.
        """
        best: tuple[int, ...] = ()
        best_value = least_value
        for option in options:
            value = reached = base
            certain = 1.0
            for part in option.parts:
                certain = min(certain, likely[part])
                gain = self.accuracies[completions[part].head] - reached
                if gain > 0:
                    value += certain * gain
                    reached += gain
            if price:
                value -= price * completions[option.parts[-1]].cost
            gamble = len(option.parts) > 1 or least_value > -math.inf
            if gamble and certain < least_chance:
                continue
            if value > best_value + TIE and likely[option.parts[0]] > least_first:
                best, best_value = option.heads, value
        return best

    def _choice(
        self, mode: str, position: int, first: int
    ) -> tuple[tuple[_Completion, ...], tuple[_Option, ...]]:
        """The sets of heads to choose from, from a position with everything below `first` done."""
        heads = range(first, self.profile.exits)
        completions: dict[tuple[int, ...], _Completion] = {}
        for t in heads:
            self._complete(completions, position, (t,))
        if mode == 'contract':
            sets = [(t,) for t in heads]
        elif mode == 'interruptible':
            sets = [tuple(range(first, t + 1)) for t in heads]
        else:
            sets = [(t,) for t in heads] + [(early, t) for t in heads for early in range(first, t)]
        options = []
        for chosen in sets:
            prefixes = [chosen[: n + 1] for n in range(len(chosen))]
            parts = tuple(self._complete(completions, position, prefix) for prefix in prefixes)
            options.append(_Option(chosen, parts))
        return tuple(completions.values()), tuple(options)

    def _complete(
        self, completions: dict[tuple[int, ...], _Completion], position: int, heads: tuple[int, ...]
    ) -> int:
        """The index of the completion of the last one of `heads` after the others; added where it is new."""
        if heads not in completions:
            cost = max(self.profile.expected(position, heads), 1e-9)
            stages = max(0, heads[-1] + 1 - position)
            completions[heads] = _Completion(heads[-1], stages, cost, math.log(cost))
        return list(completions).index(heads)
