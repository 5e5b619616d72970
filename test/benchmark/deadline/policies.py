"""The ways to decide which path (an exit at a resolution) a frame gets that the benchmark compares.

    contract, interruptible, adaptive   the node's modes, with its forecast
    running_mean   the best path whose running mean latency fits, as anytime frameworks plan today
    static_p99     the best path whose profiled 0.99 quantile fits
    fixed_first    always the cheapest path
    fixed_last     always the full one: the last exit at the largest resolution
    hindsight      the best path that turned out to fit: no decision, it is read from the recording pass

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
    """Plans one path before the first stage, and before the picture is prepared where its size depends on
    that, and stays with it. Paths are numbered as in `planning.options`.
    """

    _chosen = 0

    def feasible(self, budget: float, **_: object) -> bool:
        return True

    def plan(
        self, budget: float, *, resolution: int | None = 0, preparation: Sequence[float] = (), **_: object
    ) -> Plan:
        costs = self.costs()
        if resolution is None:
            ready = [cost + preparation[k // self.options.exits] for k, cost in enumerate(costs)]
            self._chosen = self.choose(budget, ready)
        elif len(self.forecast.profiles) == 1:
            self._chosen = self.choose(budget, costs)
        seconds = self.planned_time(budget, costs[self._chosen])
        return Plan((self._chosen,), protected=self._chosen, planned_time=seconds)

    def costs(self, probability: float = 0.5) -> list[float]:
        """Seconds of each path from its prepared picture on."""
        return [c for profile in self.forecast.profiles for c in profile.costs('contract', probability)]

    def choose(self, budget: float, costs: Sequence[float]) -> int:
        """The path, given what each of them costs."""
        fits = [k for k, cost in enumerate(costs) if cost <= budget]
        return max(fits, key=lambda k: self.options.accuracies[k], default=costs.index(min(costs)))

    def planned_time(self, budget: float, cost: float) -> float:
        """Seconds within which the path that costs so much is expected."""
        return cost


class _First(_Fixed):
    def choose(self, budget: float, costs: Sequence[float]) -> int:
        return costs.index(min(costs))

    def planned_time(self, budget: float, cost: float) -> float:
        return budget


class _Last(_First):
    def choose(self, budget: float, costs: Sequence[float]) -> int:
        return len(costs) - 1


class _Static(_Fixed):
    def costs(self, probability: float = 0.99) -> list[float]:
        return super().costs(probability)


class _RunningMean(_Fixed):
    """Running means of what each stage and head takes, at each resolution by itself."""

    def __init__(self, options: OptionTable, forecast: Forecast, control: OverrunControl) -> None:
        super().__init__(options, forecast, control)
        self._stages, self._heads = [], []
        for profile in forecast.profiles:
            fused, _ = profile.cumulative_stage_costs()
            self._stages.append([fused[t + 1] - fused[t] for t in range(profile.exits)])
            self._heads.append([profile.head_cost(t) for t in range(profile.exits)])

    def costs(self, probability: float = 0.5) -> list[float]:
        return [
            sum(stages[: t + 1]) + head
            for stages, heads in zip(self._stages, self._heads, strict=True)
            for t, head in enumerate(heads)
        ]

    def learn(self, passes: Sequence[FrameTiming], abandoned: int | None = None) -> None:
        for timing in passes:
            stages, heads = self._stages[timing.resolution], self._heads[timing.resolution]
            last, since = 0.0, 0
            ended = dict(timing.exit_times)
            for t, reached in enumerate(timing.boundary_times[1:]):
                if not math.isnan(reached):
                    _scale(stages, heads, since, t + 1, None, reached - last)
                    last, since = reached, t + 1
                if t in ended:
                    _scale(stages, heads, since, t + 1, t, ended[t] - last)
                    last, since = ended[t], t + 1


def _scale(
    stages: list[float], heads: list[float], begin: int, end: int, head: int | None, took: float
) -> None:
    """Stages from `begin` to `end` and a head took so long together: each its part of it."""
    known = sum(stages[begin:end]) + (0.0 if head is None else heads[head])
    factor = 1 + MEAN_WEIGHT * (took / max(known, 1e-9) - 1)
    for t in range(begin, end):
        stages[t] *= factor
    if head is not None:
        heads[head] *= factor


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
