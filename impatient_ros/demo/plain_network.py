"""The plain network beside the impatient one: one path for every frame, whatever its budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from impatient_ros.demo.ladder import Ladder, PathCost

if TYPE_CHECKING:
    from impatient_ros.demo.frame_log import FrameRow

__all__ = ['PlainNetwork', 'PlainResult']


@dataclass(frozen=True)
class PlainResult:
    """What would have become of one frame; an estimate."""

    latency: float  # s from the stamp to the answer
    in_time: bool
    label: str | None  # the answer; None where it is not known


@dataclass(frozen=True)
class PlainNetwork:
    """Estimates what `path` alone would have done.

    `answers` has its label for each picture by name; they were computed before the run, only times are
    estimated.
    """

    ladder: Ladder
    path: PathCost
    answers: Mapping[str, str] = field(default_factory=dict)

    def result(self, row: FrameRow) -> PlainResult | None:
        """None for a frame that nothing is known of: it never reached the node, or has no deadline."""
        if row.record is None or row.budget is None:
            return None
        latency = self.ladder.estimate(self.path, row.record, row.budget)
        return PlainResult(latency, latency <= row.budget, self.answers.get(row.name))
