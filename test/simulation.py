"""A staged network without a network: stages and heads that take simulated time, for tests of decisions."""

import math
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from impatient_ros.checkpoint import Resolution
from impatient_ros.planning.frame_timing import ExitTime, FrameTiming
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.planners import Planners
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
    """Each stage and head advances the clock by its cost times `factor` times that of the resolution; `log`
    says what was executed, `resolutions` at which sides passes began.
    """

    clock: Clock
    stages: tuple = STAGES
    heads: tuple = HEADS
    factor: float = 1.0
    logits: object = None
    scales: dict = field(default_factory=lambda: {4: 1.0})  # by side
    resolutions: list = field(default_factory=list)
    log: list = field(default_factory=list)
    name = 'eager'
    device = 'cpu'

    def __post_init__(self):
        self.exits = len(self.stages)
        self.sides = tuple(self.scales)

    def upload(self, image):
        self.resolutions.append(image.shape[-1])
        return 0

    def stage(self, index, features):
        assert features == index, 'stages must run in order'
        self.log.append(f'stage {index}')
        self.clock.now += self.stages[index] * self.factor * self.scales[self.resolutions[-1]]
        return index + 1

    def exit(self, index, features):
        assert features == index + 1
        self.log.append(f'exit {index}')
        self.clock.now += self.heads[index] * self.factor * self.scales[self.resolutions[-1]]
        default = np.array([0.0, 1.0 + index, 0.0])
        return default if self.logits is None else np.asarray(self.logits[index], float)

    def describe(self):
        return {'runtime': 'simulated'}


@dataclass
class SimulatedPreprocessing:
    """Takes `cost` simulated seconds; the tensor is of that side, whatever the picture."""

    clock: object
    side: int
    cost: float

    @property
    def size(self):
        return self.side, self.side

    @property
    def target_side(self):
        return 2 * self.side

    def __call__(self, picture):
        if self.clock is not None:
            self.clock.now += self.cost
        return np.zeros((1, 3, self.side, self.side), np.float32)


def checkpoint(exits=4, accuracies=ACCURACIES, preparation=0.0, clock=None, sides=(4,), temperature=1.0):
    """What `AnytimeClassifier` needs of a checkpoint; preprocessing takes `preparation` simulated seconds.

    `accuracies` are those of all paths, by resolution, `temperature` is that of the last exit.
    """
    return SimpleNamespace(
        labels=tuple(f'class {i}' for i in range(CLASSES)),
        digest='simulated',
        resolutions=tuple(
            Resolution(
                side=side,
                preprocessing=SimulatedPreprocessing(clock, side, preparation),
                accuracies=tuple(accuracies[r * exits : (r + 1) * exits]),
                temperatures=(1.0,) * (exits - 1) + (temperature,),
                macs=tuple(side * (t + 1) for t in range(exits)),
                graph=None,
            )
            for r, side in enumerate(sides)
        ),
    )


def profile(stages=STAGES, heads=HEADS):
    """A profile without spread from each stage's and head's cost (seconds)."""
    exits = range(len(stages))
    contract = [
        [[sum(stages[p : t + 1]) + heads[t]] if p <= t + 1 else [] for t in exits]
        for p in range(len(stages) + 1)
    ]
    interruptible = [
        [[sum(stages[p : t + 1]) + sum(heads[p : t + 1])] if p <= t else [] for t in exits] for p in exits
    ]
    return LatencyProfile(contract, interruptible)


def planner(mode='adaptive', accuracies=ACCURACIES, known=None, miss_rate=0.01):
    """A planner that has seen no frame yet, on a profile."""
    return Planners(known if isinstance(known, list) else [known or profile()], accuracies).planner(
        '', mode, miss_rate
    )


def timing(boundary_times, exit_times, deciding=0.0):
    """What a frame took, seconds from its start."""
    return FrameTiming(0.0, list(boundary_times), [ExitTime(*each) for each in exit_times], deciding)


def frame(factor, last=3, heads=None, rest=None):
    """What a frame took that is `factor` times slower than the profile, `rest` times from stage 2 on."""
    rest = factor if rest is None else rest
    heads = (last,) if heads is None else heads
    boundary_times, exit_times, now = [0.0], [], 0.0
    for t in range(last + 1):
        now += STAGES[t] * (factor if t == 0 else rest)
        boundary_times.append(now)
        if t in heads:
            now += HEADS[t] * rest
            exit_times.append((t, now))
    return timing(boundary_times, exit_times)


def fused_frame(time, last=3):
    """What a frame took that went to its exit in one call."""
    return timing([0.0, *[math.nan] * (last + 1)], [(last, time)])
