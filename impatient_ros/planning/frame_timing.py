"""When a frame was where in the network: noted while it is executed, read by the forecast afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = [
    'CutShort',
    'ExitTime',
    'FrameTiming',
    'ObservedBoundary',
    'observed_boundaries',
    'stopped_on_its_way',
]


class ExitTime(NamedTuple):
    """An exit that was evaluated, and the seconds from the frame's start to its scores."""

    exit_index: int
    time: float


class CutShort(NamedTuple):
    """A call that was stopped on its way to boundary `position`, and to the `scores` there if that is true,
    `time` seconds from the frame's start: it would have taken at least so long.
    """

    position: int
    time: float
    scores: bool


@dataclass(slots=True)
class FrameTiming:
    """What one pass of a frame took; seconds from its start, the instant at which the first stage may begin.

    Attributes:
        start: that instant, on the clock that the methods are given instants of.
        resolution: index of the pass' resolution.
        boundary_times: seconds to each boundary that was reached, the first one 0; NaN for a boundary that
            was passed without a stop, in one call with the stage or head that follows.
        exit_times: the exits that were evaluated, ascending.
        deciding: seconds spent between what was executed, in which decisions were made.
        stages: seconds that the stages took, without heads.
        cut: where it was stopped on its way, if it was.
    """

    start: float = 0.0
    resolution: int = field(default=0, kw_only=True)
    boundary_times: list[float] = field(default_factory=lambda: [0.0])
    exit_times: list[ExitTime] = field(default_factory=list)
    deciding: float = 0.0
    stages: float = 0.0
    cut: CutShort | None = field(default=None, kw_only=True)
    _latest: float = 0.0  # seconds to the latest boundary or scores

    def decided(self, now: float) -> None:
        """A decision has been made; what it says begins."""
        self.deciding += now - self.start - self._latest

    def stages_ended(self, begun: float, now: float, position: int, head_cost: float | None = None) -> None:
        """Stages up to boundary `position` were executed in one call.

        Args:
            head_cost: what the next head is expected to have taken of it where it was part of the call, s.
        """
        took, passed = now - begun, position - len(self.boundary_times) + 1
        self._latest = now - self.start
        reached = self._latest
        if head_cost is not None:
            took -= min(took, head_cost)
            reached = math.nan
        self.stages += took
        self.boundary_times += [math.nan] * (passed - 1) + [reached]

    def exit_ended(self, exit_index: int, now: float) -> float:
        """An exit's scores are there. Returns the seconds from the start to them."""
        self._latest = now - self.start
        self.exit_times.append(ExitTime(exit_index, self._latest))
        return self._latest

    def abandoned(self, now: float) -> None:
        """What was launched has ended, and no exit will be evaluated."""
        self.boundary_times[-1] = now - self.start


class ObservedBoundary(NamedTuple):
    """A boundary that a frame reached and whose instant is known.

    Attributes:
        position: stages executed by then.
        previous: the observed boundary before; the stages between were executed in one call.
        reached: seconds from the frame's start to the boundary; NaN where its head was part of the call.
        completed: seconds to the boundary, or to the scores of its head where that was evaluated.
        evaluated: whether its head was.
        calls: calls into the runtime until then, each of them after a decision.
    """

    position: int
    previous: int
    reached: float
    completed: float
    evaluated: bool
    calls: int


def observed_boundaries(timing: FrameTiming) -> list[ObservedBoundary]:
    """The boundaries of a frame whose instants are known, in order."""
    found: list[ObservedBoundary] = []
    scored_at = dict(timing.exit_times)
    previous = calls = 0
    for position in range(1, len(timing.boundary_times)):
        reached, scored = timing.boundary_times[position], scored_at.get(position - 1)
        if math.isnan(reached) and scored is None:
            continue
        calls += 1 if scored is None or math.isnan(reached) else 2
        completed = reached if scored is None else scored
        found.append(ObservedBoundary(position, previous, reached, completed, scored is not None, calls))
        previous = position
    return found


def stopped_on_its_way(
    timing: FrameTiming, boundaries: Sequence[ObservedBoundary]
) -> ObservedBoundary | None:
    """The boundary that a frame was stopped on its way to, as if it had been reached then; None: it was not
    stopped, or in the head at a boundary that it had reached. `boundaries` are those that it reached.
    """
    if timing.cut is None:
        return None
    position, time, scores = timing.cut
    if boundaries and boundaries[-1].position == position:
        return None  # that depth has its observation: one that counts twice would weigh twice
    previous, calls = (boundaries[-1].position, boundaries[-1].calls) if boundaries else (0, 0)
    return ObservedBoundary(position, previous, math.nan, time, scores, calls + 1)
