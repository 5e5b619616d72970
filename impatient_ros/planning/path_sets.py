"""Sets of paths to evaluate, and what being done with each of their paths takes; see `options` for paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeAlias

__all__ = ['Candidates', 'Completion', 'Gain', 'PathSet', 'Walk']


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


# The same once more as plain tuples, which a decision unpacks faster than it reads attributes; and fewer
# objects have to be fetched right after inference has emptied the caches.

# A path alone: depth, cost, decisions, the resolution for which the picture has to be prepared (-1: none).
Alone: TypeAlias = tuple[int, float, int, int]
# A set of one path: what it adds, the index of its completion, the set's paths.
Single: TypeAlias = tuple[float, int, tuple[int, ...]]
# Of a set of several paths, what is looked up of few only: what all add, (completion, gain) of each but the
# first one, the set's paths.
Rest: TypeAlias = tuple[float, tuple[tuple[int, float], ...], tuple[int, ...]]
# A set of several paths: the completion of the first one alone, what that one adds, what the others add.
Several: TypeAlias = tuple[int, float, float, Rest]
# Sets with the same last path: what the first of them adds, the completion of that last path alone, the most
# that the first path of one of them adds, the sets.
Group: TypeAlias = tuple[float, int, float, tuple[Several, ...]]


class Walk:
    """What a decision walks through; arguments as of `Candidates`.

    Attributes:
        alone: of the completions of each path alone.
        completions: (depth, cost, decisions, prepares) of all.
        singles: the sets of one path, in the order of `Candidates`.
        groups: the others in that order.
    """

    __slots__ = ('alone', 'completions', 'groups', 'singles')

    def __init__(self, alone: int, completions: Sequence[Completion], path_sets: Sequence[PathSet]) -> None:
        self.completions = tuple((c.depth, c.cost, c.decisions, c.prepares) for c in completions)
        self.alone: tuple[Alone, ...] = tuple(
            (depth, cost, decisions, prepares[0] if prepares else -1)
            for depth, cost, decisions, prepares in self.completions[:alone]
        )
        single = [each for each in path_sets if len(each.paths) == 1]
        self.singles: tuple[Single, ...] = tuple((each.max_gain, each.first, each.paths) for each in single)
        self.groups: tuple[Group, ...] = tuple(
            (rows[0][3][0], last, max(first_gain for _, first_gain, *_ in rows), rows)
            for last, rows in (
                (last, tuple(map(_several, sets)))
                for last, sets in groupby(path_sets[len(single) :], lambda each: each.last)
            )
        )


def _several(path_set: PathSet) -> Several:
    more = tuple((gain.completion, gain.accuracy) for gain in path_set.gains[1:])
    rest = path_set.max_gain - path_set.first_gain
    return path_set.first, path_set.first_gain, rest, (path_set.max_gain, more, path_set.paths)


@dataclass(frozen=True, slots=True)
class Candidates:
    """What there is to choose from where a frame stands.

    Attributes:
        answered: whether an answer is in hand.
        alone: the index of the completion of each path alone; these come first.
        starting: indices of those that some set begins with, the cheapest first.
        completions: of all paths in all sets.
        path_sets: single paths first, of these those that may add most.
        walk: the same for the search.
    """

    answered: bool
    alone: dict[int, int]
    starting: tuple[int, ...]
    completions: tuple[Completion, ...]
    path_sets: tuple[PathSet, ...]
    walk: Walk = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'walk', Walk(len(self.alone), self.completions, self.path_sets))
