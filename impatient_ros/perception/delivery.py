"""The thread that delivers: it sends what is there when the deadline of the frame in progress comes."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable

from impatient_ros.perception.deadlines import Deadline
from impatient_ros.perception.faults import Faults
from impatient_ros.perception.frame_in_progress import FrameInProgress
from impatient_ros.perception.frame_record import FrameRecord, Outcome
from impatient_ros.perception.latest_frames import Frame
from impatient_ros.perception.sending import Clocks, Outputs, Sender, bare_record
from impatient_ros.perception.settings import PerceptionParameters
from impatient_ros.perception.thread_priority import RealTime

__all__ = ['Delivery']


class Delivery:
    """Delivers one frame at a time, and the records of frames that nobody picked up.

    Its lock guards the frame in progress, the records that wait and what sending has taken so far.

    Args:
        realtime: schedules the thread that sends at deadlines.
        waiting: whether frames wait to be picked up; must not take a lock.
    """

    def __init__(
        self,
        outputs: Outputs,
        clocks: Clocks,
        realtime: RealTime | None = None,
        faults: Faults | None = None,
        waiting: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clocks = clocks
        self._realtime = realtime or RealTime()
        self._faults = faults or Faults()
        self._waiting = waiting
        self._sender = Sender(outputs, clocks, self._faults)
        self._changed = threading.Condition()
        self._current: FrameInProgress | None = None
        self._discarded: deque[tuple[Frame, FrameRecord]] = deque()
        self._closed = False
        # When the thread will wake by itself; every earlier wake-up costs the classifying thread time.
        self._wakes_at = -math.inf
        self._thread = threading.Thread(target=self._work, name='delivery', daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send what is due and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        self._record_discarded()  # of a thread that was given up, or never started

    def reserve(self, floor: float) -> float:
        """Seconds to keep free before a deadline for waking up and publishing; at least `floor`."""
        with self._changed:
            return self._sender.reserve(floor)

    def begin(
        self,
        frame: Frame,
        deadline: Deadline,
        parameters: PerceptionParameters,
        *,
        exits: int,
        resolutions: int,
    ) -> FrameInProgress:
        """A frame is picked up with the parameters of this moment; the one before has ended.

        `exits` and `resolutions` are how many the network has.
        """
        with self._changed:
            self._current = FrameInProgress(
                frame,
                deadline,
                parameters,
                reserve=self._sender.reserve(parameters.camera(frame.camera).budget.reserve),
                exits=exits,
                resolutions=resolutions,
                sender=self._sender,
                lock=self._changed,
                due_changed=self._wake,
            )
            self._wake()
            return self._current

    def move(self, deadline: Callable[[FrameInProgress], Deadline]) -> None:
        """The deadline of the frame in progress may have changed: `deadline(it)` says what it is now."""
        with self._changed:
            if self._current is not None:
                self._current.move(deadline(self._current))

    def discard(self, frame: Frame, outcome: Outcome, reason: str = '') -> None:
        """A frame ended without being picked up; its record is sent by the thread that delivers."""
        with self._changed:
            self._discarded.append((frame, bare_record(frame, outcome, reason)))
            self._changed.notify_all()

    def frame_waits(self) -> None:
        """A frame has come to wait; from any thread; needs no lock, since a frame that has ended stays so.

        What is still executed for one that has ended is of no use to anybody but the forecast. While no other
        frame waits, it goes on for that.
        """
        current = self._current
        if current is not None and current.ended:
            current.cancellation.cancel()

    def _wake(self) -> None:
        """Wake the thread where something is due before it wakes by itself; with the lock held."""
        if self._due() < self._wakes_at:
            self._changed.notify_all()

    def _due(self) -> float:
        """When the frame in progress expires, on the steady clock; with the lock held."""
        return math.inf if self._current is None else self._current.due()

    def _expire(self, current: FrameInProgress) -> None:
        try:
            current.expire()
        except Exception as error:  # noqa: BLE001
            # The thread lives on: the next frame's deadline is kept.
            text = f'the answer to a frame of {current.frame.camera} could not be published'
            self._faults.survived('delivery', error, text)
            current.fail()

    def _work(self) -> None:
        self._realtime.enter('delivery', above=1)
        self._faults.keep_running(self._deliver, 'delivery')

    def _deliver(self) -> bool:
        """Wait until something is to be sent, and send it; returns whether more may come."""
        with self._changed:
            while not self._discarded and not self._closed:
                due = self._due()
                left = due - self._clocks.steady()
                if left <= 0:
                    break
                self._wakes_at = due
                self._changed.wait(None if left == math.inf else left)
                self._wakes_at = -math.inf
            if self._current is not None and self._due() <= self._clocks.steady():
                self._expire(self._current)
                # It may have come to wait before this one had ended.
                if self._waiting():
                    self.frame_waits()
            if self._closed and not self._discarded:
                return False
        # Without the lock: these frames have ended, and the frame in progress need not wait for them.
        self._record_discarded()
        return True

    def _record_discarded(self) -> None:
        for _ in range(len(self._discarded)):
            self._sender.record(*self._discarded.popleft())
