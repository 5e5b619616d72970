"""Policies on a recorded trace: the real classifier and planner in simulated time. Deterministic."""

from types import SimpleNamespace

import numpy as np

from deadline.frame import Frame, budgets, hindsight
from deadline.policies import equip
from deadline.trace import Trace
from impatient_ros.checkpoint import Resolution
from impatient_ros.runtime import Runtime

__all__ = ['Replayed', 'replay', 'replayed_checkpoint']

IMAGE = np.zeros((1, 1, 3), np.uint8)
SIDE = 1  # px: nothing here depends on it


class Replayed(Runtime):
    """Stages and heads take what they took in frame `frame` of the trace."""

    name = 'replay'
    device = 'simulated'
    sides = (SIDE,)

    def __init__(self, trace: Trace) -> None:
        self.exits = trace.stages.shape[1]
        self.now = 0.0
        self.frame = 0
        self._stages, self._heads = trace.stages.tolist(), trace.heads.tolist()
        self._preparation = trace.preparation.tolist()
        self._logits = np.zeros(2, np.float32)

    def clock(self) -> float:
        return self.now

    def preprocessing(self, image):
        self.now += self._preparation[self.frame]
        return image

    def upload(self, image):
        return None

    def stage(self, index, features):
        self.now += self._stages[self.frame][index]

    def exit(self, index, features):
        self.now += self._heads[self.frame][index]
        return self._logits

    def describe(self):
        return {}


def replayed_checkpoint(trace: Trace, runtime: Replayed) -> SimpleNamespace:
    """What an `AnytimeClassifier` needs of a checkpoint."""
    exits = runtime.exits
    resolution = Resolution(
        side=SIDE,
        preprocessing=runtime.preprocessing,  # type: ignore[arg-type]
        accuracies=tuple(trace.accuracies),
        temperatures=(1.0,) * exits,
        macs=tuple(range(1, exits + 1)),
        graph=None,
    )
    return SimpleNamespace(labels=('a', 'b'), resolutions=(resolution,))


def replay(trace: Trace, policy: str, *, frames: int | None = None, miss_rate: float = 0.01) -> list[Frame]:
    """A record per frame. The budgets are the same for every policy."""
    runtime = Replayed(trace)
    checkpoint = replayed_checkpoint(trace, runtime)
    if policy != 'hindsight':
        classifier, decisions = equip(
            policy, checkpoint, runtime, [trace.profile], miss_rate=miss_rate, clock=runtime.clock
        )
    count = min(len(trace), frames or len(trace))
    model, load = trace.description['model'], trace.description['load']
    records = []
    for index, budget in enumerate(budgets(trace.profile, float(np.median(trace.preparation)), count)):
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
        answer = classifier.classify(IMAGE, budget=budget)
        records.append(Frame.of(answer, decisions, hindsight=best, feasible=feasible, **known))
        runtime.now += 0.001
    return records
