"""What runtimes have in common that execute a network as prepared pieces.

Pieces, for exit t of T: `stage_exit` t, from the boundary before the stage to the scores, and to the boundary
behind it unless the exit is the last; `path` t, from the image to the scores in one call; `stage` t without
head; `exit` t, the head alone. Of the first exit stage_exit is the path too, and behind the last boundary
there is nothing but its head, so neither has another piece for the same.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from impatient_ros.checkpoint.graph import boundary, logits
from impatient_ros.runtime.base import Run, Runtime
from impatient_ros.runtime.precision import TOLERANCES

__all__ = ['Piece', 'PieceRuntime', 'pieces']


@dataclass(frozen=True)
class Piece:
    """From what is there after `source` stages to `features` and `scores`, tensors by name ('': not made)."""

    kind: str
    index: int
    source: int
    features: str = ''
    scores: str = ''

    @property
    def outputs(self) -> list[str]:
        return [name for name in (self.features, self.scores) if name]


def pieces(exits: int) -> Iterator[Piece]:
    """Every piece of a network with that many exits."""
    last = exits - 1
    for t in range(exits):
        yield Piece('stage_exit', t, t, boundary(t + 1) if t < last else '', logits(t))
        if t > 0:
            yield Piece('path', t, 0, '', logits(t))
        if t < last:
            yield Piece('stage', t, t, boundary(t + 1))
            yield Piece('exit', t, t + 1, '', logits(t))


class PieceRuntime(Runtime):
    """Executes pieces; how, its subclasses say.

    One frame is on its way at a time: starting a run ends the one before, and `upload` chooses the resolution
    that everything up to the next one is executed at.
    """

    @abstractmethod
    def execute(self, kind: str, index: int, value: Any) -> tuple[Any, np.ndarray]:
        """Execute a piece on an uploaded image or on features: features (None without), and logits float32
        [classes] in memory of their own (empty without)."""

    def stage(self, index: int, features: Any) -> Any:
        return self.execute('stage', index, features)[0]

    def exit(self, index: int, features: Any) -> np.ndarray:
        return self.execute('exit', index, features)[1]

    def start(self, image: np.ndarray) -> Run:
        return _FusedRun(self, image)

    def disagreement(self, shape: tuple[int, ...]) -> str:
        """Compare the ways to every exit on a random image, which warms all pieces up; '' if they agree."""
        tolerance = TOLERANCES[self.precision]
        features = image = self.upload(np.random.default_rng(0).normal(size=shape).astype(np.float32))
        for t in range(self.exits):
            after, wanted = self.execute('stage_exit', t, features)
            ways = {}
            if t > 0:
                ways['the path to it'] = self.execute('path', t, image)[1]
            if t < self.exits - 1:
                ways['stage and exit in one call, then exit'] = self.exit(t, after)
                features = self.stage(t, features)
                ways['stage, then exit'] = self.exit(t, features)
            for way, scores in ways.items():
                difference = float(np.abs(scores - wanted).max())
                if not difference <= tolerance * max(1.0, float(np.abs(wanted).max())):
                    return f'exit {t + 1}, {way}, differs by {difference:.2g} from stage and exit in one call'
        return ''


class _FusedRun(Run):
    """Executes a whole contract path, or a stage with its head, in one call where it is told what comes."""

    _runtime: PieceRuntime

    def __init__(self, runtime: PieceRuntime, image: np.ndarray) -> None:
        super().__init__(runtime, image)
        self._scores: np.ndarray | None = None

    @property
    def ready(self) -> bool:
        return self._scores is not None

    def stage(self, toward: int | None = None, then: int | None = None) -> None:
        self._scores = None
        if self.position in (toward, self._runtime.exits - 1):  # the last stage is of no use without its head
            self._features, self._scores = self._runtime.execute('stage_exit', self.position, self._features)
        elif toward is not None and self.position == 0:
            # A path leaves no features behind.
            self._features, self._scores = self._runtime.execute('path', toward, self._features)
            self.position = toward
        else:
            super().stage()
            return
        self.position += 1

    def exit(self) -> np.ndarray:
        if self._scores is None:
            return super().exit()
        scores, self._scores = self._scores, None
        return scores
