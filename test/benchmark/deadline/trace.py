"""Recorded latencies: what every stage and head of a network took, frame after frame, on a real machine.

    trace = Trace.load('test/benchmark/traces/resnet18-step.npz')
    trace.stages[i, t], trace.heads[i, t]     # seconds, frame i

A trace carries the latency profile that was measured just before on the quiet machine, so that a simulation
plans with what a node would have known.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from impatient_ros.planning.latency_profile import LatencyProfile

__all__ = ['Trace']

RESOLUTION = 1e-6  # s: of the stored whole numbers


@dataclass(frozen=True)
class Trace:
    """N frames through T stages, each with every head; seconds.

    Attributes:
        description: JSON-able: model, load, machine, runtime, versions, date.
        accuracies: of each exit [T].
        profile: of the quiet machine.
        preparation: preprocessing [N].
        stages, heads: [N, T].
        phase: number of the load's phase in which the frame began [N].
        loaded: whether the load was on then [N].
    """

    description: dict
    accuracies: tuple[float, ...]
    profile: LatencyProfile
    preparation: np.ndarray
    stages: np.ndarray
    heads: np.ndarray
    phase: np.ndarray
    loaded: np.ndarray

    def __len__(self) -> int:
        return len(self.stages)

    def save(self, path: str | Path) -> None:
        profile = self.profile.to_dict()
        tables = {}
        for mode in ('contract', 'interruptible'):
            rows = profile[mode]
            tables[f'{mode}_lengths'] = np.array([[len(cell) for cell in row] for row in rows])
            tables[mode] = _whole(np.array([s for row in rows for cell in row for s in cell]))
        np.savez_compressed(
            path,
            description=np.array(json.dumps({**self.description, 'accuracies': self.accuracies})),
            preparation=_whole(self.preparation),
            stages=_whole(self.stages),
            heads=_whole(self.heads),
            phase=self.phase.astype(np.uint16),
            loaded=self.loaded.astype(bool),
            **tables,
        )

    @classmethod
    def load(cls, path: str | Path) -> 'Trace':
        with np.load(path) as stored:
            values = {name: stored[name] for name in stored.files}
        description = json.loads(str(values['description']))
        tables = {mode: _cells(values, mode) for mode in ('contract', 'interruptible')}
        return cls(
            description=description,
            accuracies=tuple(description.pop('accuracies')),
            profile=LatencyProfile(tables['contract'], tables['interruptible']),
            preparation=values['preparation'] * RESOLUTION,
            stages=values['stages'] * RESOLUTION,
            heads=values['heads'] * RESOLUTION,
            phase=values['phase'],
            loaded=values['loaded'],
        )


def _whole(seconds: np.ndarray) -> np.ndarray:
    return np.round(seconds / RESOLUTION).astype(np.uint32)


def _cells(values: dict, mode: str) -> list[list[list[float]]]:
    samples = iter((values[mode] * RESOLUTION).tolist())
    return [[[next(samples) for _ in range(n)] for n in row] for row in values[f'{mode}_lengths']]
