"""Sets of paths to evaluate, and what being done with each of their paths takes; see `options` for paths."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ['Candidates', 'Completion', 'Gain', 'PathSet']

# Slotted classes rather than tuples: reading their attributes is what takes the least time in a decision.


@dataclass(frozen=True, slots=True)
class Completion:
    """Being done with a path after certain others.

    Attributes:
        depth: what is still to be executed of the last path's pass, as in `Forecast.errors`.
        cost: median seconds, without decisions and preparation.
        decisions: how many are made on the way.
        prepares: the resolutions, by index, for which the picture has to be prepared on the way.
    """

    depth: int
    cost: float
    decisions: int
    prepares: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Gain:
    """What one path of a set contributes: the index of its completion, and the accuracy that it adds."""

    completion: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class PathSet:
    """Paths to evaluate.

    Attributes:
        max_gain: accuracy that all of them add.
        paths: ascending.
        gains: one per path.
        optional: whether it goes beyond a first answer.
        first, last: the completions of its first and of its last path, each alone.
        first_gain: what the first path adds.
    """

    max_gain: float
    paths: tuple[int, ...]
    gains: tuple[Gain, ...]
    optional: bool
    first: int
    last: int
    first_gain: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """What there is to choose from where a frame stands.

    Attributes:
        answered: whether an answer is in hand.
        alone: the index of the completion of each path alone; these come first.
        starting: indices of those that some set begins with, the cheapest first.
        completions: of all paths in all sets.
        path_sets: single paths first, of these those that may add most.
    """

    answered: bool
    alone: dict[int, int]
    starting: tuple[int, ...]
    completions: tuple[Completion, ...]
    path_sets: tuple[PathSet, ...]
