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
from collections.abc import Callable

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.planning.forecast import Forecast
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.planner import MODES, Plan, Planner

__all__ = ['POLICIES', 'equip']

MEANS = 0.1  # weight of the latest frame in a running mean
POLICIES = (*MODES, 'running_mean', 'static_p99', 'fixed_first', 'fixed_last', 'hindsight')


class _Fixed(Planner):
    """Plans one exit before the first stage and stays with it."""

    def __init__(self, profile: LatencyProfile, accuracies: tuple[float, ...]) -> None:
        super().__init__(profile, accuracies, 'contract', forecast=Forecast(profile))

    def feasible(self, budget: float) -> bool:
        return True

    def plan(self, budget: float, **where: object) -> Plan:
        chosen, seconds = self.choose(budget)
        return Plan((chosen,), protected=chosen, promise=seconds)

    def choose(self, budget: float) -> tuple[int, float]:
        """The exit, and the seconds that it is expected to take at most."""
        raise NotImplementedError

    def deepest(self, costs: tuple[float, ...], budget: float) -> tuple[int, float]:
        fits = [t for t, cost in enumerate(costs) if cost <= budget]
        chosen = max(fits, key=lambda t: self.accuracies[t], default=0)
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


class _Means(Forecast):
    """Running means of what each stage and head takes."""

    def reset(self) -> None:
        super().reset()
        exits = range(self.profile.exits)
        boundary = [self._in_one_go[t + 1] - self._in_one_go[t] for t in exits]
        self.stages, self.heads = boundary, [self.profile.head(t) for t in exits]

    def learn(self, marks, heads, given_up=None, decided=0.0) -> None:
        last, since = 0.0, 0
        ended = dict(heads)
        for t, mark in enumerate(marks[1:]):
            if not math.isnan(mark):
                self._scale(since, t + 1, None, mark - last)
                last, since = mark, t + 1
            if t in ended:
                self._scale(since, t + 1, t, ended[t] - last)
                last, since = ended[t], t + 1

    def _scale(self, begin: int, end: int, head: int | None, took: float) -> None:
        """Stages from `begin` to `end` and a head took so long together: each its part of it."""
        known = sum(self.stages[begin:end]) + (0.0 if head is None else self.heads[head])
        factor = 1 + MEANS * (took / max(known, 1e-9) - 1)
        for t in range(begin, end):
            self.stages[t] *= factor
        if head is not None:
            self.heads[head] *= factor


class _RunningMean(_Fixed):
    def __init__(self, profile: LatencyProfile, accuracies: tuple[float, ...]) -> None:
        super().__init__(profile, accuracies)
        self.forecast: _Means = _Means(profile)

    def choose(self, budget: float) -> tuple[int, float]:
        means = self.forecast
        costs = tuple(sum(means.stages[: t + 1]) + means.heads[t] for t in range(self.profile.exits))
        return self.deepest(costs, budget)


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

    def feasible(self, budget: float) -> bool:
        began = time.thread_time_ns()
        feasible = self._planner.feasible(budget)
        self._decisions.append((time.thread_time_ns() - began) * 1e-3)
        return feasible


def equip(
    policy: str,
    checkpoint: object,
    runtime: object,
    profile: LatencyProfile,
    *,
    miss_rate: float = 0.01,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[AnytimeClassifier, list[float]]:
    """A classifier that decides by `policy`, and the list into which its decisions' microseconds go."""
    if policy not in POLICIES or policy == 'hindsight':
        raise ValueError(f'policy is {policy!r}; write some of {", ".join(POLICIES)}')
    mode = policy if policy in MODES else 'contract'
    classifier = AnytimeClassifier(
        checkpoint,
        runtime,
        profile,
        mode=mode,
        miss_rate=miss_rate,
        clock=clock,  # type: ignore[arg-type]
    )
    if policy in _BASELINES:
        classifier._planner = _BASELINES[policy](profile, classifier.checkpoint.accuracies)
    decisions: list[float] = []
    classifier._planner = _Timed(classifier._planner, decisions)  # type: ignore[assignment]
    return classifier, decisions
