"""What the node says of its model and runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.perception.faults import FaultCounts
from impatient_ros.perception.thread_priority import RealTimeState
from impatient_ros.planning.overrun_control import OverrunState

__all__ = ['LoadedModel', 'ModelState', 'model_state']


@dataclass(frozen=True)
class ModelState:
    """For /diagnostics; seconds."""

    state: str = 'active'  # of the lifecycle, see `Lifecycle.state`
    active_for: float = math.inf  # since the activation
    model: str = ''  # path of the checkpoint
    device: str = ''
    runtime: str = ''
    precision: str = ''
    mode: str = ''
    resolutions: tuple[int, ...] = ()  # sides in use, px, ascending
    exits: int = 0
    slowdown: float = 1.0
    reserve: float | None = None  # kept for waking up and publishing
    prediction_error: float | None = None  # median of |observed / forecast - 1|
    overruns: Mapping[str, OverrunState] = field(default_factory=dict)  # by camera: how its miss rate is held
    scheduling: RealTimeState = field(default_factory=RealTimeState)
    clock_missing: bool = False  # simulated time is waited for, and none has come
    failure: str = ''  # why the latest step of the lifecycle failed
    faults: FaultCounts = field(default_factory=FaultCounts)


@dataclass(frozen=True)
class LoadedModel:
    """A classifier and the path that its checkpoint came from."""

    path: str
    classifier: AnytimeClassifier

    @property
    def description(self) -> str:
        """Its paths and what runs them, for people."""
        runtime, sides, exits = self.classifier.runtime, self.classifier.resolutions, self.classifier.exits
        paths = f'{exits} exit{"s" if exits > 1 else ""}'
        if len(sides) > 1:
            paths = f'{len(sides)} resolutions ({sides[0]} to {sides[-1]} px) of {paths}'
        return f'{paths} on {runtime.name} ({runtime.device}, {runtime.precision}), {self.latencies}'

    @property
    def latencies(self) -> str:
        """The median latency of each path, for people: of each resolution its exits'."""
        costs: dict[int, list[str]] = {}
        of_paths = self.classifier.costs('contract')
        for path in sorted(of_paths, key=lambda each: (each.resolution, each.exit_index)):
            costs.setdefault(path.resolution, []).append(f'{of_paths[path] * 1e3:.1f}')
        several = len(costs) > 1
        of_each = [(f'{side} px: ' if several else '') + ', '.join(each) for side, each in costs.items()]
        return f'median {"; ".join(of_each)} ms'


def model_state(
    state: str,
    loaded: LoadedModel | None,
    *,
    active_for: float,
    mode: str,
    reserve: float | None,
    scheduling: RealTimeState | None = None,
    clock_missing: bool = False,
    failure: str = '',
    faults: FaultCounts | None = None,
) -> ModelState:
    """The model's state as it is now, in a state of the lifecycle; the rest is the node's."""
    faults = faults or FaultCounts()
    if loaded is None:
        return ModelState(state, clock_missing=clock_missing, failure=failure, faults=faults)
    classifier = loaded.classifier
    learned = classifier.state()
    return ModelState(
        state,
        active_for=active_for,
        model=loaded.path,
        device=classifier.runtime.device,
        runtime=classifier.runtime.name,
        precision=classifier.runtime.precision,
        mode=mode,
        resolutions=classifier.resolutions,
        exits=classifier.exits,
        slowdown=learned.slowdown,
        reserve=reserve,
        prediction_error=learned.error,
        overruns=learned.cameras,
        scheduling=scheduling or RealTimeState(),
        clock_missing=clock_missing,
        failure=failure,
        faults=faults,
    )
