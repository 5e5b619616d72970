"""Answers go out by their deadline, even while a later stage is still being executed. No ROS import.

The thread that classifies (`begin`, `offer`, `finish`) hands every answer over; a second thread watches the
deadline of the frame under way and sends what is there when the time is up. Whoever comes first sends; each
frame ends in exactly one `FrameRecord`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from impatient_ros.answer import Answer
from impatient_ros.perception.deadlines import Deadline
from impatient_ros.perception.frame_in_progress import FrameUnderWay, Manner
from impatient_ros.perception.frame_record import FrameRecord, Outcome
from impatient_ros.perception.latest_frames import Frame
from impatient_ros.perception.thread_priority import prefer_this_thread
from impatient_ros.planning.planner import Plan
from impatient_ros.planning.preparation_cost import RollingQuantile

__all__ = ['Delivery', 'Outputs']

_log = logging.getLogger(__name__)


class Outputs(Protocol):
    """Where answers and records go; both are called from either thread, never for the same frame at once."""

    def answer(self, frame: Frame, answer: Answer | None) -> None:
        """Publish an answer, or (None) that there is none."""

    def record(self, frame: Frame, record: FrameRecord) -> None:
        """Publish and count how a frame ended."""


class Delivery:
    """Delivers one frame at a time.

    Args:
        outputs: where answers and records go.
        ros_now: nanoseconds of the node's ROS clock; lateness is judged by it.
        steady_now: seconds of the clock that the classifier uses.
        priority: real-time priority of the thread that sends at deadlines, 0 for none.
    """

    def __init__(
        self,
        outputs: Outputs,
        ros_now: Callable[[], int],
        steady_now: Callable[[], float] = time.perf_counter,
        priority: int = 0,
    ) -> None:
        self._outputs = outputs
        self._priority = priority
        self._ros_now = ros_now
        self._steady_now = steady_now
        # What waking up and publishing take, from the instant that was meant to the answer being out.
        self._lag = RollingQuantile(0.95, start=0.0)
        self._changed = threading.Condition()
        self._current: FrameUnderWay | None = None
        self._others: deque[tuple[Frame, FrameRecord]] = deque()
        self._closed = False
        # When the watching thread will look by itself; every earlier wake-up costs the frame's thread time.
        self._looks_at = -math.inf
        self._thread = threading.Thread(target=self._watch, name='delivery', daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send what is due and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def lag(self) -> float:
        """Learned seconds between deciding to send and the answer being out."""
        return self._lag.value

    def reserve(self, floor: float) -> float:
        """Seconds to keep free before a deadline."""
        return max(floor, self._lag.value)

    def begin(self, frame: Frame, deadline: Deadline, reserve: float, manner: Manner, exits: int) -> float:
        """A frame is picked up. Returns its budget in seconds."""
        begun = self._steady_now()
        budget = deadline.budget(self._ros_now())
        with self._changed:
            self._current = FrameUnderWay(
                frame, deadline, begun, begun + budget, budget, reserve, manner, exits
            )
            self._wake()
        return budget

    def until(self) -> float:
        """The deadline of the frame under way on the steady clock; moves with `move`."""
        current = self._current
        return float('inf') if current is None else current.until

    def move(self, deadline: Callable[[Frame], Deadline]) -> None:
        """The deadline of the frame under way may have changed: `deadline(frame)` says what it is now."""
        with self._changed:
            current = self._current
            if current is not None and not current.ended:
                current.deadline = deadline(current.frame)
                current.until = self._steady_now() + current.deadline.budget(self._ros_now())
                self._wake()

    def plan(self, plan: Plan, slowdown: float) -> None:
        """What the frame under way is meant to get, and the slowdown that this assumes."""
        if self._current is not None:
            self._current.planned, self._current.promised = plan.target, plan.protected
            self._current.slowdown = slowdown

    def offer(self, answer: Answer) -> None:
        """A better answer for the frame under way."""
        with self._changed:
            current = self._current
            if current is None or current.ended:
                return
            current.best = answer
            self._wake()
        if current.manner.every:
            self._send(current, answer, self._steady_now())

    def send(self, answer: Answer) -> None:
        """The frame under way gets nothing better: send at once, before its books are closed by `finish`."""
        current = self._current
        if current is not None:
            self._send(current, answer, current.begun + answer.elapsed)

    def finish(self, final: Answer) -> FrameRecord | None:
        """The classifier is done with the frame under way. Returns how it ended."""
        current = self._current
        if current is None:
            return None
        if final.exit_index is not None:
            self._send(current, final, current.begun + final.elapsed)
        self._end(current, final)
        self._forget(current)
        return current.record

    def drop(self, reason: str) -> None:
        """The frame under way cannot be used."""
        current = self._current
        if current is None:
            return
        with current.lock:
            if not current.ended:
                current.ended = True
                self._outputs.record(current.frame, self._record(current, Outcome.dropped, reason))
        self._forget(current)

    def discard(self, frame: Frame, outcome: Outcome, reason: str = '') -> None:
        """A frame ended without being picked up; its record is sent by the watching thread."""
        record = FrameRecord(
            frame.camera,
            frame.stamp * 1e-9,
            outcome,
            reason,
            superseded=frame.superseded,
            fault=frame.fault,
        )
        with self._changed:
            self._others.append((frame, record))
            self._changed.notify_all()

    def _forget(self, current: FrameUnderWay) -> None:
        with self._changed:
            if self._current is current:
                self._current = None

    def _send(self, current: FrameUnderWay, answer: Answer, meant: float) -> None:
        """Publish `answer` unless the frame has ended, it is out already, or it is too late to be wanted."""
        with current.lock:
            if current.ended or current.sent is answer:
                return
            late = current.deadline.budget(self._ros_now()) < 0
            if late and (current.manner.on_miss != 'late' or current.sent is not None):
                return
            self._outputs.answer(current.frame, answer)
            current.sent = answer
            current.sent_slack = current.deadline.budget(self._ros_now())
            self._lag.observe(max(0.0, self._steady_now() - meant))

    def _end(self, current: FrameUnderWay, final: Answer | None) -> None:
        """Close the frame's books: exactly one record."""
        with current.lock:
            if current.ended:
                return
            current.ended = True
            if current.sent is None and current.manner.on_miss == 'empty':
                self._outputs.answer(current.frame, None)
            outcome, reason = current.outcome(final)
            current.record = self._record(current, outcome, reason)
            self._outputs.record(current.frame, current.record)

    def _record(self, current: FrameUnderWay, outcome: Outcome, reason: str) -> FrameRecord:
        sent = current.sent_slack
        slack = current.deadline.budget(self._ros_now()) if sent is None else sent
        return current.to_record(outcome, reason, self._steady_now() - current.begun, slack)

    def _wake(self) -> None:
        """Wake the watching thread where something is due before it looks by itself; with the lock held."""
        if self._due() < self._looks_at:
            self._changed.notify_all()

    def _due(self) -> float:
        """When the frame under way must be looked after, on the steady clock."""
        return math.inf if self._current is None else self._current.due

    def _watch(self) -> None:
        prefer_this_thread(self._priority)
        while True:
            with self._changed:
                due = None
                while not self._others and due is None and not self._closed:
                    at = self._due()
                    left = at - self._steady_now()
                    if left > 0:
                        self._looks_at = at
                        self._changed.wait(None if left == math.inf else left)
                        self._looks_at = -math.inf
                    elif self._current is not None:
                        due = (self._current, at)
                others = list(self._others)
                self._others.clear()
                if self._closed and not others and due is None:
                    return
            for frame, record in others:
                self._outputs.record(frame, record)
            if due is not None:
                self._expire(*due)

    def _expire(self, current: FrameUnderWay, at: float) -> None:
        best = current.best
        if best is not None:
            self._send(current, best, at)
        elif current.manner.on_miss == 'late':
            current.expired = True  # its first answer ends it
            return
        self._end(current, None)
