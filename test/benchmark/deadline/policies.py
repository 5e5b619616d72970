"""The ways to decide which exit a frame gets that the benchmark compares.

    contract, interruptible, adaptive   the node's modes, with its forecast
    running_mean   the deepest exit whose running mean latency fits, as anytime frameworks plan today
    static_p99     the deepest exit whose profiled 0.99 quantile fits
    fixed_first    always the first exit
    fixed_last     always the last exit
    hindsight      the best exit that turned out to fit: no decision, it is read from the recording pass

Every one of them is a planner for the same `AnytimeClassifier`: what differs is the decision alone.
"""

import math
import time
from collections.abc import Callable, Sequence

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.planning.forecast import Forecast
from impatient_ros.planning.frame_timing import FrameTiming
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.options import MODES, OptionTable
from impatient_ros.planning.overrun_control import OverrunControl
from impatient_ros.planning.planner import Plan, Planner
from impatient_ros.planning.planners import Planners

__all__ = ['POLICIES', 'equip']

MEAN_WEIGHT = 0.1  # weight of the latest frame in a running mean
POLICIES = (*MODES, 'running_mean', 'static_p99', 'fixed_first', 'fixed_last', 'hindsight')


class _Fixed(Planner):
    """Plans one exit before the first stage and stays with it."""

    @property
    def profile(self) -> LatencyProfile:
        return self.forecast.profiles[0]

    def feasible(self, budget: float, **_: object) -> bool:
        return True

    def plan(self, budget: float, **_: object) -> Plan:
        chosen, seconds = self.choose(budget)
        return Plan((chosen,), protected=chosen, planned_time=seconds)

    def choose(self, budget: float) -> tuple[int, float]:
        """The exit, and the seconds that it is expected to take at most."""
        raise NotImplementedError

    def deepest(self, costs: tuple[float, ...], budget: float) -> tuple[int, float]:
        fits = [t for t, cost in enumerate(costs) if cost <= budget]
        chosen = max(fits, key=lambda t: self.options.accuracies[t], default=0)
        return chosen, costs[chosen]


class _First(_Fixed):
    def choose(self, budget: float) -> tuple[int, float]:
        return 0, budget


class _Last(_Fixed):
    def choose(self, budget: float) -> tuple[int, float]:
        return self.profile.exits - 1, budget


class _Static(_Fixed):
    def choose(self, budget: float) -> tuple[int, float]:
        return self.deepest(self.profile.costs('contract', 0.99), budget)


class _RunningMean(_Fixed):
    """Running means of what each stage and head takes."""

    def __init__(self, options: OptionTable, forecast: Forecast, control: OverrunControl) -> None:
        super().__init__(options, forecast, control)
        fused, _ = self.profile.cumulative_stage_costs()
        exits = range(self.profile.exits)
        self._stages = [fused[t + 1] - fused[t] for t in exits]
        self._heads = [self.profile.head_cost(t) for t in exits]

    def choose(self, budget: float) -> tuple[int, float]:
        stages, heads = self._stages, self._heads
        costs = tuple(sum(stages[: t + 1]) + heads[t] for t in range(self.profile.exits))
        return self.deepest(costs, budget)

    def learn(self, passes: Sequence[FrameTiming], abandoned: int | None = None) -> None:
        [timing] = passes
        last, since = 0.0, 0
        ended = dict(timing.exit_times)
        for t, reached in enumerate(timing.boundary_times[1:]):
            if not math.isnan(reached):
                self._scale(since, t + 1, None, reached - last)
                last, since = reached, t + 1
            if t in ended:
                self._scale(since, t + 1, t, ended[t] - last)
                last, since = ended[t], t + 1

    def _scale(self, begin: int, end: int, head: int | None, took: float) -> None:
        """Stages from `begin` to `end` and a head took so long together: each its part of it."""
        known = sum(self._stages[begin:end]) + (0.0 if head is None else self._heads[head])
        factor = 1 + MEAN_WEIGHT * (took / max(known, 1e-9) - 1)
        for t in range(begin, end):
            self._stages[t] *= factor
        if head is not None:
            self._heads[head] *= factor


_BASELINES = {
    'running_mean': _RunningMean,
    'static_p99': _Static,
    'fixed_first': _First,
    'fixed_last': _Last,
}


class _Timed:
    """A planner whose decisions are timed: microseconds of this thread's processor time."""

    def __init__(self, planner: Planner, decisions: list[float]) -> None:
        self._planner = planner
        self._decisions = decisions

    def __getattr__(self, name: str) -> object:
        return getattr(self._planner, name)

    def plan(self, *args: object, **options: object) -> Plan:
        began = time.thread_time_ns()
        plan = self._planner.plan(*args, **options)  # type: ignore[arg-type]
        self._decisions.append((time.thread_time_ns() - began) * 1e-3)
        return plan

    def feasible(self, *args: object, **options: object) -> bool:
        began = time.thread_time_ns()
        feasible = self._planner.feasible(*args, **options)  # type: ignore[arg-type]
        self._decisions.append((time.thread_time_ns() - began) * 1e-3)
        return feasible


class _TimedPlanners(Planners):
    """Planners whose decisions are timed; those of a baseline are one and the same for all frames."""

    def __init__(
        self,
        profiles: Sequence[LatencyProfile],
        accuracies: Sequence[float],
        policy: str,
        decisions: list[float],
    ) -> None:
        super().__init__(profiles, accuracies)
        self._decisions = decisions
        self._baseline: Planner | None = None
        if policy in _BASELINES:
            made = super().planner('', 'contract', 0.01)
            self._baseline = _BASELINES[policy](made.options, made.forecast, made.control)

    def planner(self, camera: str, mode: str, miss_rate: float) -> Planner:
        planner = self._baseline or super().planner(camera, mode, miss_rate)
        return _Timed(planner, self._decisions)  # type: ignore[return-value]


def equip(
    policy: str,
    checkpoint: object,
    runtime: object,
    profiles: Sequence[LatencyProfile],
    *,
    miss_rate: float = 0.01,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[AnytimeClassifier, list[float]]:
    """A classifier that decides by `policy`, and the list into which its decisions' microseconds go."""
    if policy not in POLICIES or policy == 'hindsight':
        raise ValueError(f'policy is {policy!r}; write some of {", ".join(POLICIES)}')
    decisions: list[float] = []
    classifier = AnytimeClassifier(
        checkpoint,
        runtime,
        profiles,
        mode=policy if policy in MODES else 'contract',
        miss_rate=miss_rate,
        planners=lambda *about: _TimedPlanners(*about, policy, decisions),
        clock=clock,  # type: ignore[arg-type]
    )
    return classifier, decisions
