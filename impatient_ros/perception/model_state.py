"""What the node says of its model and runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.planning.overrun_control import OverrunState

__all__ = ['LoadedModel', 'ModelState', 'model_state']


@dataclass(frozen=True)
class ModelState:
    """For /diagnostics; seconds."""

    state: str = 'active'  # of the lifecycle: unconfigured, inactive, active
    active_for: float = math.inf  # since the activation
    model: str = ''  # path of the checkpoint
    device: str = ''
    runtime: str = ''
    mode: str = ''
    exits: int = 0
    slowdown: float = 1.0
    reserve: float | None = None  # kept for waking up and publishing
    prediction_error: float | None = None  # median of |observed / forecast - 1|
    overruns: Mapping[str, OverrunState] = field(default_factory=dict)  # by camera: how its miss rate is held


@dataclass(frozen=True)
class LoadedModel:
    """A classifier and the path that its checkpoint came from."""

    path: str
    classifier: AnytimeClassifier

    @property
    def description(self) -> str:
        """Its exits and what runs them, for people."""
        runtime = self.classifier.runtime
        return f'{self.classifier.exits} exits on {runtime.name} ({runtime.device}), {self.latencies}'

    @property
    def latencies(self) -> str:
        """The median latency to each exit, for people."""
        costs = self.classifier.profile.costs('contract')
        return f'median {", ".join(f"{cost * 1e3:.1f}" for cost in costs)} ms'


def model_state(
    state: str, loaded: LoadedModel | None, *, active_for: float, mode: str, reserve: float | None
) -> ModelState:
    """The model's state as it is now, in a state of the lifecycle; `mode` and `reserve` are the node's."""
    if loaded is None:
        return ModelState(state)
    classifier = loaded.classifier
    learned = classifier.state()
    return ModelState(
        state,
        active_for=active_for,
        model=loaded.path,
        device=classifier.runtime.device,
        runtime=classifier.runtime.name,
        mode=mode,
        exits=classifier.exits,
        slowdown=learned.slowdown,
        reserve=reserve,
        prediction_error=learned.error,
        overruns=learned.cameras,
    )
