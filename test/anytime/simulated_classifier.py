"""A classifier on a simulated runtime, what its frames take, and who watches them."""

import numpy as np
from simulation import ACCURACIES, Clock, SimulatedRuntime, checkpoint, profile

from impatient_ros.anytime import AnytimeClassifier, FrameRequest

IMAGE = np.zeros((4, 4, 3), np.uint8)


def classifier(
    mode, *, factor=1.0, accuracies=ACCURACIES, preparation=0.0, logits=None, temperature=1.0, **options
):
    clock = Clock()
    runtime = SimulatedRuntime(clock, factor=factor, logits=logits)
    described = checkpoint(
        accuracies=accuracies, preparation=preparation, clock=clock, temperature=temperature
    )
    return AnytimeClassifier(described, runtime, [profile()], mode=mode, clock=clock, **options), runtime


class Observer:
    """Remembers what it is told; `order` has the names of what was told."""

    def __init__(self):
        self.plans, self.answers, self.final, self.order = [], [], [], []

    def planned(self, path, protected, slowdown):
        self.plans.append(path)
        self.order.append('planned')

    def answered(self, answer):
        self.answers.append(answer)
        self.order.append('answered')

    def completed(self, answer):
        self.final.append(answer)
        self.order.append('completed')


def run(clf, image=IMAGE, *, budget, observer=None, **fields):
    """A frame of `budget` seconds with further fields of a request."""
    at = clf.clock() + budget
    return clf.run(FrameRequest(image, lambda: at, **{'settings': clf.settings, **fields}), observer)


def ladder(mode, *, factor=0.99, preparation=0.001, exits=1, accuracies=(0.4, 0.6, 0.7, 0.8), **options):
    """Four resolutions whose passes take 10, 20, 40 and 80 ms, with one exit each or two at equal parts.

    Frames are a little quicker than forecast: what takes exactly as long is late by a rounding error or not.
    """
    clock, sides = Clock(), (32, 64, 96, 128)
    stages, heads = (0.010 / exits,) * exits, (1e-6,) * exits
    scales = dict(zip(sides, (1.0, 2.0, 4.0, 8.0), strict=True))
    runtime = SimulatedRuntime(clock, stages=stages, heads=heads, factor=factor, scales=scales)
    described = checkpoint(exits, accuracies, preparation, clock, sides)
    profiles = [profile([scale * s for s in stages], [scale * h for h in heads]) for scale in scales.values()]
    return AnytimeClassifier(described, runtime, profiles, mode=mode, clock=clock, **options), runtime


def stages(runtime):
    return [entry for entry in runtime.log if entry.startswith('stage')]
