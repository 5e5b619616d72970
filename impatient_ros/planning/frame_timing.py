"""What a frame showed of its course through the network: the places at which the clock was looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ['Waypoint', 'waypoints']


class Waypoint(NamedTuple):
    """A boundary that a frame reached and at which it was seen.

    Attributes:
        position: stages executed by then.
        since: position of the waypoint before; where it is not the one before, the stages between were
            executed in one go.
        mark: seconds from the frame's start to the boundary; NaN where its head was executed along with it.
        done: seconds to the boundary, or to the scores of its head where that was evaluated.
        head: whether it was.
        pieces: what had been executed one by one until then, each after a decision.
    """

    position: int
    since: int
    mark: float
    done: float
    head: bool
    pieces: int


def waypoints(marks: Sequence[float], heads: Sequence[tuple[int, float]]) -> list[Waypoint]:
    """The waypoints of a frame.

    Args:
        marks: seconds to each boundary that it reached, the first one 0; NaN where a boundary was passed in
            one go with the stage or head that follows.
        heads: the exits evaluated, ascending, with the seconds to their scores.
    """
    found: list[Waypoint] = []
    evaluated = dict(heads)
    since = pieces = 0
    for position in range(1, len(marks)):
        mark, scored = marks[position], evaluated.get(position - 1)
        if math.isnan(mark) and scored is None:
            continue
        pieces += 1 if scored is None or math.isnan(mark) else 2
        done = mark if scored is None else scored
        found.append(Waypoint(position, since, mark, done, scored is not None, pieces))
        since = position
    return found
