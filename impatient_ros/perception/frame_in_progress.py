"""A frame from being picked up to its record: what was planned for it, what it got, and how it ended.

This is where an image's way turns: the classifier tells a frame in progress about its plan and its answers,
and the frame in progress decides what goes out and when. An answer that is ready leaves by the deadline even
while a later stage is still being executed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from impatient_ros.answer import Answer
from impatient_ros.anytime.cancellation import Cancellation
from impatient_ros.perception.deadlines import Deadline
from impatient_ros.perception.frame_record import (
    ARRIVED_LATE,
    CONFIDENT,
    INTERNAL_ERROR,
    FrameRecord,
    Outcome,
)
from impatient_ros.perception.latest_frames import Frame
from impatient_ros.perception.sending import Sender, bare_record, said
from impatient_ros.perception.settings import CameraParameters, PerceptionParameters

if TYPE_CHECKING:
    from impatient_ros.checkpoint import Path

__all__ = ['FrameInProgress']


class FrameInProgress:
    """The frame that is being classified; exactly one record comes of it.

    Two threads may send, and the first one does: the thread that classifies (`planned`, `answered`,
    `completed`, `finish`, `drop`) and the one that delivers at the deadline (`expire`). One lock, that of
    `Delivery`, guards all of it, publishing included: no answer follows the record.

    Args:
        parameters: as they were when the frame was picked up; later changes count for later frames.
        reserve: seconds before the deadline at which an answer must be sent.
        exits, resolutions: how many the network has.
        lock: that of `Delivery`; re-entrant.
        due_changed: called with the lock held when `due` may have become earlier.

    Attributes:
        cancellation: stops what is still executed for it.
    """

    def __init__(
        self,
        frame: Frame,
        deadline: Deadline,
        parameters: PerceptionParameters,
        *,
        reserve: float,
        exits: int,
        resolutions: int,
        sender: Sender,
        lock: threading.Condition,
        due_changed: Callable[[], None],
    ) -> None:
        self.frame = frame
        self.parameters = parameters
        self.reserve = reserve
        self.cancellation = Cancellation()
        self._exits, self._resolutions = exits, resolutions
        self._sender = sender
        self._clocks = sender.clocks
        self._lock = lock
        self._due_changed = due_changed
        self._deadline = deadline
        self._start = self._clocks.steady()
        self._budget = deadline.budget(self._clocks.ros_ns())
        self._until = self._start + self._budget  # the deadline on the steady clock
        self._ready_since = self._start  # when its best answer came, or its deadline was moved
        self._path: Path | None = None  # that it was planned to take
        self._protected: Path | None = None  # that its plan protected
        self._slowdown = 1.0
        self._best: Answer | None = None
        self._sent: Answer | None = None
        self._sent_slack: float | None = None
        self._awaits_late_answer = False  # past its deadline without an answer, and still wanted
        self._record: FrameRecord | None = None  # set when it has ended

    @property
    def camera(self) -> CameraParameters:
        """The parameters of its camera."""
        return self.parameters.camera(self.frame.camera)

    @property
    def ended(self) -> bool:
        """Whether its record is out; from any thread."""
        return self._record is not None

    # -- the thread that classifies

    def until(self) -> float:
        """Its deadline on the steady clock, in seconds; an announcement may move it."""
        with self._lock:
            return self._until

    def planned(self, path: Path | None, protected: Path | None, slowdown: float) -> None:
        """What it is meant to get, what of that is protected, and the slowdown that this assumes."""
        with self._lock:
            self._path, self._protected, self._slowdown = path, protected, slowdown

    def answered(self, answer: Answer) -> None:
        """A better answer than before; a dearer path may follow."""
        with self._lock:
            if self._record is not None:
                return
            self._best = answer
            self._ready_since = self._clocks.steady()
            self._due_changed()
            if self.parameters.publish_mode == 'every':
                self._send(answer, self._clocks.steady())

    def completed(self, answer: Answer) -> None:
        """Nothing better will come: it is sent at once, before the classifier learns from the frame."""
        with self._lock:
            self._send(answer, self._start + answer.elapsed)

    def finish(self, final: Answer) -> FrameRecord:
        """The classifier has returned `final`. Returns how the frame ended, now or at its deadline."""
        with self._lock:
            if final.infeasible:  # and so never planned
                self._slowdown = final.slowdown
            if final.exit_index is not None:
                self._send(final, self._start + final.elapsed)
            return self._end(final)

    def drop(self, reason: str) -> None:
        """It cannot be used."""
        with self._lock:
            if self._record is None:
                self._close(Outcome.dropped, reason)

    # -- both threads that send

    def fail(self) -> None:
        """An error of our own ended it; it has its record in any case."""
        with self._lock:
            if self._record is not None:
                return
            try:
                self._close(Outcome.dropped, INTERNAL_ERROR)
            except Exception as error:  # noqa: BLE001  what failed may be needed here, too: a clock
                self._sender.faults.survived('frame_status', error)
                self._record = bare_record(self.frame, Outcome.dropped, INTERNAL_ERROR)
                self._sender.record(self.frame, self._record)

    # -- the thread of announcements

    def move(self, deadline: Deadline) -> None:
        """Its deadline is `deadline` from now on."""
        with self._lock:
            if self._record is None:
                self._deadline = deadline
                self._ready_since = self._clocks.steady()
                self._until = self._ready_since + deadline.budget(self._clocks.ros_ns())
                self._due_changed()

    # -- the thread that delivers

    def due(self) -> float:
        """When `expire` must be called, on the steady clock; infinity: not at all."""
        with self._lock:
            if self._record is not None or (self._awaits_late_answer and self._best is None):
                return math.inf
            # With an answer in hand it must leave in time; without one, the deadline itself ends it.
            return self._until - (self.reserve if self._best is not None else 0.0)

    def expire(self) -> None:
        """The time is up: send what is there."""
        with self._lock:
            if self._best is not None:
                # What sending takes counts from when it was due and possible.
                self._send(self._best, max(self.due(), self._ready_since))
            elif self.parameters.on_miss == 'late':
                self._awaits_late_answer = True  # its first answer ends it
                return
            self._end(None)

    # -- with the lock held

    def _send(self, answer: Answer, meant: float) -> None:
        """Publish `answer` unless the frame has ended, it is out already, or it is too late to be wanted."""
        if self._record is not None or self._sent is answer:
            return
        late = self._slack() < 0
        if late and (self.parameters.on_miss != 'late' or self._sent is not None):
            return
        self._sender.send(self.frame, answer, self.parameters.top_k, meant)
        self._sent, self._sent_slack = answer, self._slack()

    def _end(self, final: Answer | None) -> FrameRecord:
        if self._record is not None:
            return self._record
        if self._sent is None and self.parameters.on_miss == 'empty':
            self._sender.send_empty(self.frame, self.parameters.top_k)
        return self._close(*self._outcome(final))

    def _close(self, outcome: Outcome, reason: str) -> FrameRecord:
        sent, planned = self._sent, self._path
        label, confidence = (None, None) if sent is None else said(sent)
        self._record = record = FrameRecord(
            camera=self.frame.camera,
            stamp=self.frame.stamp_ns * 1e-9,
            outcome=outcome,
            reason=reason,
            exit_index=None if sent is None else sent.exit_index,
            planned_exit_index=None if planned is None else planned.exit_index,
            exits=self._exits,
            budget=self._budget,
            elapsed=self._clocks.steady() - self._start,
            slack=self._slack() if self._sent_slack is None else self._sent_slack,
            slowdown=self._slowdown,
            superseded=self.frame.superseded,
            fault=self._deadline.fault,
            label=label,
            confidence=confidence,
            overrun=self._overrun(),
            resolution=None if sent is None else sent.resolution,
            planned_resolution=None if planned is None else planned.resolution,
            resolutions=self._resolutions,
            unknown=sent is not None and sent.unknown,
        )
        self._sender.record(self.frame, record)
        return record

    def _outcome(self, final: Answer | None) -> tuple[Outcome, str]:
        """How it ended, and the reason; `final` is the classifier's last answer, where it has come."""
        sent = self._sent
        if sent is None:
            if final is not None and final.infeasible:
                if self._arrived_late():
                    return Outcome.infeasible, ARRIVED_LATE
                cheapest = 'the first exit' if self._resolutions == 1 else 'the cheapest path'
                return Outcome.infeasible, f'budget below {cheapest}'
            return Outcome.missed, 'no exit was ready by the deadline'
        outcome = Outcome.late if (self._sent_slack or 0.0) < 0 else Outcome.answered
        if outcome is Outcome.late and self._arrived_late():
            return outcome, ARRIVED_LATE
        # Short of the planned path: at a lower resolution, or at the same one from an earlier exit.
        taken = sent.resolution or 0, sent.exit_index or 0
        planned = sent.planned_resolution or 0, sent.planned_exit_index or 0
        if taken < planned and self._sure(sent):
            return outcome, CONFIDENT
        return outcome, 'deadline_fallback' if self._deadline.fallback else ''

    def _arrived_late(self) -> bool:
        return self._deadline.at_ns <= self.frame.arrival_ns

    def _overrun(self) -> bool | None:
        """Whether the protected path came later than planned; None: none was protected."""
        if self._protected is None:
            return None
        best = self._best
        if best is not None and best.overrun is not None:
            return best.overrun
        # An answer that is missing when the frame ends counts as an overrun, unless an earlier one was sure.
        return best is None or not self._sure(best)

    def _sure(self, answer: Answer) -> bool:
        return answer.sure(self.parameters.confidence_threshold)

    def _slack(self) -> float:
        """Seconds that are left until the deadline, by the ROS clock."""
        return self._deadline.budget(self._clocks.ros_ns())
