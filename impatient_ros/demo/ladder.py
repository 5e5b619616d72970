"""What the paths of a model cost on this machine, end to end, and the plain network among them.

    ladder = Ladder(paths, overhead=0.002, transport=0.001)
    low, high = ladder.cost_range()               # between which the demo draws the budgets
    plain = ladder.best_plain(budgets)            # the best single path for these budgets
    ladder.estimate(plain, row)                   # what that path would have taken for this frame

Seconds throughout. What is measured with nothing else running is called quiet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from impatient_ros.perception.frame_record import FrameRecord, Outcome

if TYPE_CHECKING:
    from impatient_ros.demo.frame_log import FrameRow

__all__ = ['Ladder', 'PathCost']


@dataclass(frozen=True)
class PathCost:
    """A path with its latency from the prepared picture to the scores and its validation accuracy."""

    resolution: int  # px
    exit_index: int
    latency: float  # s
    accuracy: float  # 0..1


@dataclass(frozen=True)
class Ladder:
    """The paths of a model on this machine, cheapest first; at least one.

    `overhead` is what a frame takes in the node beside the network (preparation, publishing), `transport`
    from its stamp to its pick-up; both quiet medians. `slowdown` is that of the quiet machine against the
    node's latency profile, which may be an old one; the latencies here are those of now.
    """

    paths: tuple[PathCost, ...]
    overhead: float = 0.0
    transport: float = 0.0
    slowdown: float = 1.0

    def measured(self, rows: Iterable[FrameRow]) -> Ladder:
        """This ladder, of profiled latencies, as it is on the quiet machine that answered these frames."""
        slowdowns, overheads, transports = [], [], []
        for row in rows:
            record = row.record
            taken = None if record is None else self.taken(record)
            if record is not None and row.in_time and taken is not None:
                slowdowns.append(record.slowdown)
                if record.elapsed is not None:
                    overheads.append(max(record.elapsed - record.slowdown * taken.latency, 0.0))
                if row.budget is not None and record.budget is not None:
                    transports.append(max(row.budget - record.budget, 0.0))
        slowdown = median(slowdowns) if slowdowns else 1.0
        return Ladder(
            tuple(replace(path, latency=slowdown * path.latency) for path in self.paths),
            overhead=median(overheads) if overheads else self.overhead,
            transport=median(transports) if transports else self.transport,
            slowdown=slowdown,
        )

    def end_to_end(self, path: PathCost) -> float:
        """Seconds from a frame's stamp to its answer on that path."""
        return self.transport + self._in_node(path)

    def cost_range(self) -> tuple[float, float]:
        """The end-to-end costs of the cheapest and of the dearest path."""
        costs = [self.end_to_end(path) for path in self.paths]
        return min(costs), max(costs)

    def best_plain(self, budgets: Sequence[float] | np.ndarray) -> PathCost:
        """The path that alone would be right and in time most often under these budgets, were the machine
        quiet: the plain network's best case. The more accurate one where two are equal.
        """
        shares = [float(np.mean(np.asarray(budgets) >= self.end_to_end(path))) for path in self.paths]
        best = max(
            zip(shares, self.paths, strict=True),
            key=lambda pair: (pair[0] * pair[1].accuracy, pair[1].accuracy),
        )
        return best[1]

    def find(self, resolution: int | None, exit_index: int | None) -> PathCost | None:
        """The path; a record of a model with one resolution need not name it."""
        for path in self.paths:
            if path.exit_index == exit_index and resolution in (path.resolution, None):
                return path
        return None

    def taken(self, record: FrameRecord) -> PathCost | None:
        """The path whose answer went out."""
        return self.find(record.resolution, record.exit_index)

    def planned(self, record: FrameRecord) -> PathCost | None:
        return self.find(record.planned_resolution, record.planned_exit_index)

    def text(self, path: PathCost | None) -> str:
        """The path for people: '160 px, exit 4 of 5'; what all paths have in common is left out."""
        if path is None:
            return ''
        exits = 1 + max(each.exit_index for each in self.paths)
        words = [f'{path.resolution} px'] if len({each.resolution for each in self.paths}) > 1 else []
        if exits > 1 or not words:
            words.append(f'exit {path.exit_index + 1} of {exits}')
        return ', '.join(words)

    def estimate(self, path: PathCost, record: FrameRecord, budget: float | None) -> float:
        """Seconds from the stamp to an answer, had this frame gone that path alone.

        It is charged this frame's transport (what was gone of `budget`, the seconds from its stamp to its
        deadline, when it was picked up) and this frame's slowdown. Where the planned path answered, that is
        what it took against what it takes on the quiet machine. Otherwise the frame may have gone several
        paths, and the node's own forecast stands in; where no answer came at all it is at least what kept
        the planned path from being there by the deadline.
        """
        transport = self.transport
        if budget is not None and record.budget is not None:
            transport = max(budget - record.budget, 0.0)
        slowdown = record.slowdown / self.slowdown
        taken, planned = self.taken(record), self.planned(record)
        if taken is not None and taken == planned and record.elapsed is not None:
            slowdown = record.elapsed / self._in_node(taken)
        elif record.outcome is Outcome.missed and planned is not None and record.budget is not None:
            slowdown = max(slowdown, record.budget / self._in_node(planned))
        return transport + slowdown * self._in_node(path)

    def _in_node(self, path: PathCost) -> float:
        """Seconds from a frame's pick-up to its answer on that path."""
        return self.overhead + path.latency
