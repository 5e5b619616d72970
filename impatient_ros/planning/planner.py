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

from impatient_ros.planning.error_window import Errors
from impatient_ros.planning.forecast import Forecast
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.options import MODES, Choice, choice

__all__ = ['LEAST_CHANCE', 'LEAST_CHANCE_SHARED', 'MODES', 'WORTH_ONE_GO', 'Plan', 'Planner']

# A gamble with less is not taken: it would mostly hold up the frames after this one.
LEAST_CHANCE = 0.1
LEAST_CHANCE_SHARED = 0.9  # while other frames wait: a stage that is launched cannot be stopped
KEPT = 0.9  # a promise less likely to be kept is given up for a nearer exit
# An exit that is promised is headed for in one go where stopping at the boundaries on the way, to look at the
# clock, takes more than this share of its cost: with a small network, for which looking is dear and waiting
# for the exit is not.
WORTH_ONE_GO = 0.06
TIE = 1e-9  # of accuracy: sets that differ less are equal, and the one with fewer heads is taken


@dataclass(slots=True)  # not frozen: setting attributes the long way doubles the time of a decision
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
        self._in_one_go = [self.profile.boundaries(t) > WORTH_ONE_GO for t in range(T)]
        # By the stages executed and the answer in hand; what cannot happen is not asked for.
        self._choices = {
            (position, answered): choice(
                mode, self.profile, self.accuracies, position, answered, self._in_one_go
            )
            for position in range(T + 1)
            for answered in (None, *range(T))
        }
        self._usual = [
            [self.profile.quantile('contract', p, t, 0.5) if p <= t + 1 else math.inf for t in range(T)]
            for p in range(T + 1)
        ]
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
        """
        among = self._choices[position, answered]
        if not (budget > 0 and among.options):
            return Plan((), answered is None)
        forecast = self.forecast
        level = forecast.level if slowdown is None else slowdown
        available = budget / level
        errors = forecast.errors(position)
        look = forecast.look
        if answered is not None:
            return Plan(self._best(among, available, look, errors, least_chance, least_value=0.0))
        margins = forecast.margins(position)
        safe, any_safe = [], False
        for stages, cost, looks in among.alone:
            fits = (cost + looks * look) * margins[stages] <= available
            safe.append(fits)
            any_safe = any_safe or fits
        if not any_safe:
            # An unlikely answer beats none. Where nothing was ever that fast, the frame is infeasible.
            heads = self._best(among, available, look, errors, least_chance)
            return Plan(heads, not heads)
        # By contract: the most accurate one of those that are protected.
        unsure = None if self._mode == 'contract' else errors
        heads = self._best(among, available, look, unsure, least_chance, safe=safe)
        stages, cost, looks = among.alone[heads[0] - among.first]
        return Plan(heads, False, heads[0], level * (cost + looks * look) * margins[stages])

    def feasible(self, budget: float) -> bool:
        """Whether a frame could be answered in so many seconds, unless the machine has become slower for good
        just now. A frame that is taken for infeasible shows nothing, so one hiccup must not do it.
        """
        if budget <= 0:
            return False
        forecast = self.forecast
        available = budget / forecast.least_level
        errors, margins = forecast.errors(), forecast.margins()
        for stages, cost, looks in self._choices[0, None].alone:
            times = available / (cost + looks * forecast.look)
            if margins[stages] <= times or errors[stages].chance(times):
                return True
        return False

    def in_one_go(self, exit_index: int) -> bool:
        """Whether a frame that an exit is promised to goes there without looking at the clock on its way."""
        return self._in_one_go[exit_index]

    def least(self, budget: float, *, position: int = 0, slowdown: float | None = None) -> Plan:
        """The cheapest exit alone, for a frame that others wait for; arguments as of `plan`."""
        level = self.forecast.level if slowdown is None else slowdown
        among = self._choices[position, None]
        alone = among.completions[: self.profile.exits - among.first]
        index = min(range(len(alone)), key=lambda i: alone[i][1])
        (stages, cost, looks), heads = alone[index], (among.first + index,)
        usual = level * (cost + looks * self.forecast.look)
        promise = usual * self.forecast.margins(position)[stages]
        if promise <= budget:
            return Plan(heads, protected=heads[0], promise=promise)
        if budget > 0 and self.forecast.errors(position)[stages].chance(budget / usual) > 0:
            return Plan(heads)
        return Plan(infeasible=True)

    def holds(self, exit_index: int, budget: float, position: int, slowdown: float) -> bool:
        """Whether an exit that was promised is still likely enough from there; arguments as of `plan`.

        Not whether it could be promised there: who gives a promise up has broken it, and a controller that
        hears of that asks for more time, for which still more would be given up.
        """
        stages = exit_index + 1 - position
        usual = self._usual[position][exit_index] + max(1, stages) * self.forecast.look
        return self.forecast.errors(position)[stages].chance(budget / (usual * slowdown)) >= KEPT

    @staticmethod
    def _best(
        among: Choice,
        available: float,
        look: float,
        errors: Sequence[Errors] | None,
        least_chance: float,
        *,
        safe: Sequence[bool] = (),
        least_value: float = -math.inf,
    ) -> tuple[int, ...]:
        """The heads of the option that adds most to the expected accuracy, more than `least_value`, if any.

        Args:
            available: seconds that there are, and `look`: those of a decision; without the slowdown.
            errors: of forecasts; None: everything is done in time.
            least_chance: what a gamble needs.
            safe: for each head that options begin with, whether it may be; empty: if it has any chance.
        """
        best: tuple[int, ...] = ()
        best_value = least_value + TIE
        completions = among.completions
        chances: list[float | None] = [None if errors else 1.0] * len(completions)
        for most, heads, gains, gamble, first, last in among.options:
            if most <= best_value:
                break  # nor do those after it add more
            if safe and not safe[first]:
                continue
            # What all its heads take is at least what the last one takes alone, which others take, too: most
            # options fall by that before anything else of them is looked up.
            at_most = chances[last]
            if at_most is None:
                stages, cost, looks = completions[last]
                at_most = chances[last] = errors[stages].chance(  # type: ignore[index]
                    available / (cost + looks * look)
                )
            if gamble and at_most < least_chance:
                continue
            value, certain = 0.0, 1.0
            for part, gain in gains:
                chance = chances[part]
                if chance is None:
                    stages, cost, looks = completions[part]
                    chance = chances[part] = errors[stages].chance(  # type: ignore[index]
                        available / (cost + looks * look)
                    )
                if chance < certain:
                    certain = chance  # a head is done only if those before it are
                value += certain * gain
            if value <= best_value or (gamble and certain < least_chance):
                continue
            if safe or chances[gains[0][0]]:
                best, best_value = heads, value + TIE
        return best
