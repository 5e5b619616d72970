"""The paths that a classifier chooses from, and what the scores at the end of one mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from impatient_ros.anytime.competing_labels import competing
from impatient_ros.checkpoint import Path, Resolution
from impatient_ros.checkpoint.resolution import paths_of

__all__ = ['Paths']


class Paths:
    """The resolutions of a checkpoint that are in use, and its classes that compete.

    The planner numbers paths: r * T + t for exit t at the resolution of index r.

    Args:
        resolutions: ascending.
        labels: of the network's classes.
        wanted: the classes that compete; (): all. Probabilities are those among these.

    Raises:
        LabelError: one of the wanted labels is not there.
    """

    def __init__(
        self, resolutions: Sequence[Resolution], labels: Sequence[str], wanted: Sequence[str] = ()
    ) -> None:
        indices = competing(labels, wanted)
        self.labels = tuple(labels[index] for index in indices)
        self._competing = np.array(indices) if wanted else None
        self.sides = tuple(each.side for each in resolutions)
        self.preprocessing = tuple(each.preprocessing for each in resolutions)
        self.exits = len(resolutions[0].accuracies)
        self.accuracies = tuple(accuracy for each in resolutions for accuracy in each.accuracies)
        named = {(path.resolution, path.exit_index): path for path in paths_of(resolutions)}
        self.cheapest_first = tuple(named.values())
        self._named = tuple(named[side, t] for side in self.sides for t in range(self.exits))

    @property
    def resolutions(self) -> int:
        """How many there are."""
        return len(self.sides)

    def split(self, path: int) -> tuple[int, int]:
        """The index of a path's resolution, and its exit."""
        return divmod(path, self.exits)

    def joined(self, resolution: int, exit_index: int) -> int:
        """The inverse of `split`."""
        return resolution * self.exits + exit_index

    def named(self, path: int | None) -> Path | None:
        """The path of that number; None for None."""
        return None if path is None else self._named[path]

    def numbered(self, path: Path) -> int:
        """The inverse of `named`. Raises ValueError for a path that is not one of these."""
        if path not in self._named:
            raise ValueError(f'{path} is not one of the paths in use: take one of `paths`')
        return self._named.index(path)

    def classification(
        self, path: int | None, logits: np.ndarray | None, unknown_below: float = 0.0
    ) -> dict[str, Any]:
        """What an `Answer` says of the class: from the logits [classes] of a path, or without an answer.

        What `unknown_below` is compared with is the best class's probability among *all* classes: among the
        competing ones alone, a picture of something else would look like the nearest of them. It is also the
        confidence of an unknown answer.
        """
        if path is None or logits is None:
            return {
                'label': None, 'class_index': None, 'confidence': 0.0, 'probabilities': np.empty(0),
                'exit_index': None, 'resolution': None,
            }  # fmt: skip
        found = self._named[path]
        scaled = logits.astype(np.float64) / found.temperature
        scores = np.exp(scaled - scaled.max())
        scores /= scores.sum()
        if self._competing is not None:
            scores = scores[self._competing]
        best = int(scores.argmax())
        absolute, total = float(scores[best]), float(scores.sum())
        # With underflow none of them has any probability left: then none is likelier than another.
        scores = scores / total if total > 0 else np.full(len(scores), 1 / len(scores))
        unknown = absolute < unknown_below
        return {
            'label': self.labels[best], 'class_index': best, 'unknown': unknown,
            'confidence': absolute if unknown else float(scores[best]), 'probabilities': scores,
            'exit_index': found.exit_index, 'resolution': found.resolution,
        }  # fmt: skip
