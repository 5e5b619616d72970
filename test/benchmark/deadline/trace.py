"""Recorded latencies: what every stage and head of a network took, frame after frame, on a real machine.

    trace = Trace.load('test/benchmark/traces/resnet18-step.npz')
    trace.stages[i, r, t], trace.heads[i, r, t]     # seconds, frame i at the resolution of index r

A trace carries the latency profiles that were measured just before on the quiet machine, so that a simulation
plans with what a node would have known.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from impatient_ros.planning.latency_profile import LatencyProfile, Table

__all__ = ['Trace']

MICROSECOND = 1e-6  # s: the unit of the stored whole numbers


@dataclass(frozen=True)
class Trace:
    """N frames at R resolutions through T stages, each with every head; seconds.

    Attributes:
        description: JSON-able: model, load, machine, runtime, versions, date.
        sides: of each resolution, px, ascending [R].
        accuracies: of each path, exit t at the resolution of index r being r * T + t [R * T].
        profiles: of the quiet machine [R].
        preparation: preprocessing [N, R].
        stages, heads: [N, R, T].
        phase: number of the load's phase in which the frame began [N].
        loaded: whether the load was on then [N].
    """

    description: dict
    sides: tuple[int, ...]
    accuracies: tuple[float, ...]
    profiles: tuple[LatencyProfile, ...]
    preparation: np.ndarray
    stages: np.ndarray
    heads: np.ndarray
    phase: np.ndarray
    loaded: np.ndarray

    def __len__(self) -> int:
        return len(self.stages)

    def save(self, path: str | Path) -> None:
        profiles = [profile.to_dict() for profile in self.profiles]
        tables = {}
        for mode in ('contract', 'interruptible'):
            rows = [row for profile in profiles for row in profile[mode]]
            tables[f'{mode}_lengths'] = np.array([[len(cell) for cell in row] for row in rows])
            tables[mode] = _whole(np.array([s for row in rows for cell in row for s in cell]))
        np.savez_compressed(
            path,
            description=np.array(
                json.dumps({**self.description, 'sides': self.sides, 'accuracies': self.accuracies})
            ),
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
        # The first traces have one resolution, which they do not name, and no axis for it.
        sides = tuple(description.pop('sides', [1]))
        shape = len(values['stages']), len(sides), -1
        contract, interruptible = (
            _tables(values, mode, len(sides)) for mode in ('contract', 'interruptible')
        )
        return cls(
            description=description,
            sides=sides,
            accuracies=tuple(description.pop('accuracies')),
            profiles=tuple(map(LatencyProfile, contract, interruptible)),
            preparation=values['preparation'].reshape(shape[:2]) * MICROSECOND,
            stages=values['stages'].reshape(shape) * MICROSECOND,
            heads=values['heads'].reshape(shape) * MICROSECOND,
            phase=values['phase'],
            loaded=values['loaded'],
        )


def _whole(seconds: np.ndarray) -> np.ndarray:
    return np.round(seconds / MICROSECOND).astype(np.uint32)


def _tables(values: dict, mode: str, resolutions: int) -> list[Table]:
    samples = iter((values[mode] * MICROSECOND).tolist())
    rows = [[[next(samples) for _ in range(n)] for n in row] for row in values[f'{mode}_lengths']]
    each = len(rows) // resolutions
    return [rows[begin : begin + each] for begin in range(0, len(rows), each)]
