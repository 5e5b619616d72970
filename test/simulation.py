"""A staged network without a network: stages and heads that take simulated time, for tests of decisions."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.runtime import Runtime

STAGES = (0.010, 0.010, 0.010, 0.010)
HEADS = (0.001, 0.001, 0.001, 0.001)
ACCURACIES = (0.5, 0.6, 0.7, 0.8)
CLASSES = 3


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self):
        return self.now


@dataclass
class SimulatedRuntime(Runtime):
    """Each stage and head advances the clock by its cost times `factor`; `log` says what was executed."""

    clock: Clock
    stages: tuple = STAGES
    heads: tuple = HEADS
    factor: float = 1.0
    logits: object = None
    log: list = field(default_factory=list)
    name = 'eager'
    device = 'cpu'

    def __post_init__(self):
        self.exits = len(self.stages)

    def upload(self, image):
        return 0

    def stage(self, index, features):
        assert features == index, 'stages must run in order'
        self.log.append(f'stage {index}')
        self.clock.now += self.stages[index] * self.factor
        return index + 1

    def exit(self, index, features):
        assert features == index + 1
        self.log.append(f'exit {index}')
        self.clock.now += self.heads[index] * self.factor
        default = np.array([0.0, 1.0 + index, 0.0])
        return default if self.logits is None else np.asarray(self.logits[index], float)

    def describe(self):
        return {'runtime': 'simulated'}


def checkpoint(exits=4, accuracies=ACCURACIES, preparation=0.0, clock=None):
    """What `AnytimeClassifier` needs of a checkpoint; preprocessing takes `preparation` simulated seconds."""

    def preprocessing(image):
        if clock is not None:
            clock.now += preparation
        return image

    return SimpleNamespace(
        labels=tuple(f'class {i}' for i in range(CLASSES)),
        accuracies=accuracies,
        temperatures=(1.0,) * exits,
        preprocessing=preprocessing,
        digest='simulated',
        input_shape=(3, 4, 4),
    )


def profile(stages=STAGES, heads=HEADS):
    return LatencyProfile.from_costs(stages, heads)
