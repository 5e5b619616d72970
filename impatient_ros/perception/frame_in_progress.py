"""A frame from being picked up to its record: what it was promised, got, and how it ended. No ROS import."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

from impatient_ros.answer import Answer
from impatient_ros.perception.deadlines import Deadline
from impatient_ros.perception.frame_record import CONFIDENT, FrameRecord, Outcome
from impatient_ros.perception.latest_frames import Frame

__all__ = ['FrameUnderWay', 'Manner']


@dataclass(frozen=True)
class Manner:
    """How a frame is to be delivered: the parameters `publish_mode`, `on_miss`, `confidence_threshold`."""

    every: bool = False
    on_miss: str = 'silent'
    confidence_threshold: float = 0.0


@dataclass
class FrameUnderWay:
    """What is known of the frame that is being worked on; seconds, instants on the classifier's clock."""

    frame: Frame
    deadline: Deadline
    begun: float
    until: float  # the deadline
    budget: float
    reserve: float
    manner: Manner
    exits: int
    planned: int | None = None
    promised: int | None = None
    slowdown: float = 1.0
    best: Answer | None = None
    sent: Answer | None = None
    sent_slack: float | None = None
    ended: bool = False
    record: FrameRecord | None = None
    expired: bool = False  # past its deadline without an answer, and still wanted
    lock: threading.Lock = field(default_factory=threading.Lock)  # serialises sending

    @property
    def due(self) -> float:
        """When it must be looked after, infinity if no more."""
        if self.ended or (self.expired and self.best is None):
            return math.inf
        # With an answer in hand it must leave in time; without one, the deadline itself ends it.
        return self.until - (self.reserve if self.best is not None else 0.0)

    @property
    def overrun(self) -> bool | None:
        """Whether the promised exit came later than promised; what is not there when the frame ends, does."""
        if self.promised is None:
            return None
        best, threshold = self.best, self.manner.confidence_threshold
        if best is not None and best.overrun is not None:
            return best.overrun
        return best is None or not 0 < threshold <= best.confidence

    def outcome(self, final: Answer | None) -> tuple[Outcome, str]:
        """How it ended, and the reason; `final` is the classifier's last answer, where it has come."""
        sent, threshold = self.sent, self.manner.confidence_threshold
        if sent is None:
            if final is not None and final.infeasible:
                return Outcome.infeasible, 'budget below the first exit'
            return Outcome.missed, 'no exit was ready by the deadline'
        outcome = Outcome.late if (self.sent_slack or 0.0) < 0 else Outcome.answered
        shallower = (sent.exit_index or 0) < (sent.planned_exit_index or 0)
        if shallower and 0 < threshold <= sent.confidence:
            return outcome, CONFIDENT
        return outcome, 'deadline_fallback' if self.deadline.fallback else ''

    def to_record(self, outcome: Outcome, reason: str, elapsed: float, slack: float) -> FrameRecord:
        """Its record; `slack` is what was left when its answer went out, or is left now without one."""
        sent = self.sent
        return FrameRecord(
            camera=self.frame.camera,
            stamp=self.frame.stamp * 1e-9,
            outcome=outcome,
            reason=reason,
            exit_index=None if sent is None else sent.exit_index,
            planned_exit_index=self.planned,
            exits=self.exits,
            budget=self.budget,
            elapsed=elapsed,
            slack=slack,
            slowdown=self.slowdown,
            superseded=self.frame.superseded,
            fault=self.deadline.fault,
            label=None if sent is None else sent.label,
            confidence=None if sent is None else sent.confidence,
            overrun=self.overrun,
        )
