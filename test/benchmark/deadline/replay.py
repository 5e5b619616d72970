"""Policies on a recorded trace: the real classifier and planner in simulated time. Deterministic."""

from types import SimpleNamespace

import numpy as np

from deadline.frame import Frame, PlanNoted, budgets, hindsight
from deadline.policies import equip
from deadline.trace import Trace
from impatient_ros.checkpoint import Resolution
from impatient_ros.runtime import Runtime

__all__ = ['Replayed', 'replay', 'replayed_checkpoint']

IMAGE = np.zeros((1, 1, 3), np.uint8)


class Replayed(Runtime):
    """Stages and heads take what they took in frame `frame` of the trace. A run's features are the index of
    its resolution.
    """

    name = 'replay'
    device = 'simulated'

    def __init__(self, trace: Trace) -> None:
        self.sides = trace.sides
        self.exits = trace.stages.shape[2]
        self.now = 0.0
        self.frame = 0
        self._stages, self._heads = trace.stages.tolist(), trace.heads.tolist()
        self._preparation = trace.preparation.tolist()
        self._logits = np.zeros(2, np.float32)

    def clock(self) -> float:
        return self.now

    def prepare(self, resolution):
        self.now += self._preparation[self.frame][resolution]

    def upload(self, image):
        return self.sides.index(image.shape[2])

    def stage(self, index, features):
        self.now += self._stages[self.frame][features][index]
        return features

    def exit(self, index, features):
        self.now += self._heads[self.frame][features][index]
        return self._logits

    def describe(self):
        return {}


class _Preprocessing:
    """Takes what it took for the resolution of that index."""

    def __init__(self, runtime: Replayed, resolution: int) -> None:
        self._runtime, self._resolution = runtime, resolution
        self.size = (runtime.sides[resolution],) * 2

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        self._runtime.prepare(self._resolution)
        return np.zeros((1, 3, *self.size), np.float32)


def replayed_checkpoint(trace: Trace, runtime: Replayed) -> SimpleNamespace:
    """What an `AnytimeClassifier` needs of a checkpoint."""
    T = runtime.exits
    resolutions = tuple(
        Resolution(
            side=side,
            preprocessing=_Preprocessing(runtime, r),  # type: ignore[arg-type]
            accuracies=trace.accuracies[r * T : (r + 1) * T],
            temperatures=(1.0,) * T,
            macs=tuple(range(r * T + 1, (r + 1) * T + 1)),
            graph=None,
        )
        for r, side in enumerate(runtime.sides)
    )
    return SimpleNamespace(labels=('a', 'b'), resolutions=resolutions)


def replay(trace: Trace, policy: str, *, frames: int | None = None, miss_rate: float = 0.01) -> list[Frame]:
    """A record per frame. The budgets are the same for every policy."""
    runtime = Replayed(trace)
    checkpoint = replayed_checkpoint(trace, runtime)
    if policy != 'hindsight':
        classifier, decisions = equip(
            policy, checkpoint, runtime, trace.profiles, miss_rate=miss_rate, clock=runtime.clock
        )
    count = min(len(trace), frames or len(trace))
    model, load = trace.description['model'], trace.description['load']
    records = []
    preparation = np.median(trace.preparation, axis=0)
    for index, budget in enumerate(budgets(trace.profiles, preparation, count)):
        runtime.frame = index
        best, feasible, slack = hindsight(
            trace.preparation[index], trace.stages[index], trace.heads[index], trace.accuracies, budget
        )
        known = {
            'model': model,
            'policy': policy,
            'load': load,
            'index': index,
            'phase': int(trace.phase[index]),
            'loaded': bool(trace.loaded[index]),
            'budget': budget,
        }
        if policy == 'hindsight':
            records.append(Frame.in_hindsight(best, feasible, slack, **known))
            continue
        decisions.clear()
        plan = PlanNoted()
        answer = classifier.classify(IMAGE, budget=budget, observer=plan)
        records.append(
            Frame.of(classifier, answer, plan, decisions, hindsight=best, feasible=feasible, **known)
        )
        runtime.now += 0.001
    return records
