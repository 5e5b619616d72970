"""The newest frame of every camera, and which of them is next.

One thread receives (`LatestFrames.put`), one works (`LatestFrames.take`). A frame that nobody took before the
next one of its camera arrived is *superseded*: `put` hands it back, so that every frame can be accounted for.
Nothing queues up behind a slow network.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from impatient_ros.perception.deadlines import Deadline
from impatient_ros.perception.time_sharing import SUPERSEDED_LIMIT

__all__ = ['Frame', 'LatestFrames', 'SequenceGaps']


@dataclass
class Frame:
    """One image on its way through the node; `message` is whatever the receiver took.

    While it waits, `deadline` and `superseded` belong to `LatestFrames` and its lock; from being taken, or
    handed back, on they do not change any more.
    """

    camera: str
    message: Any
    stamp_ns: int
    arrival_ns: int
    deadline: Deadline
    superseded: int = 0  # frames of this camera superseded since the last one that was taken


class LatestFrames:
    """Holds at most one frame per camera and gives out the one with the earliest deadline first; before all
    others that of a camera of which SUPERSEDED_LIMIT frames in a row were superseded.

    Thread-safe; any number of threads may put and take. A frame is given out exactly once: to `take`, or
    handed back by the `put` that supersedes it, or by `clear` or `close`.
    """

    def __init__(self) -> None:
        self._frames: dict[str, Frame] = {}
        self._changed = threading.Condition()
        self._closed = False

    def put(self, frame: Frame) -> Frame | None:
        """Make `frame` its camera's newest; returns the frame that it supersedes.

        The new frame inherits the count of those superseded before it. A closed store keeps nothing: it
        returns `frame`.
        """
        with self._changed:
            if self._closed:
                return frame
            older = self._frames.get(frame.camera)
            if older is not None:
                frame.superseded += older.superseded + 1
            self._frames[frame.camera] = frame
            self._changed.notify()
            return older

    def take(self) -> Frame | None:
        """Remove and return the most urgent frame, the oldest arrival among equals.

        Blocks until there is one. None: the store is closed.
        """
        with self._changed:
            while not self._frames and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            chosen = min(self._frames.values(), key=_urgency)
            return self._frames.pop(chosen.camera)

    @property
    def waiting(self) -> bool:
        """Whether there is a frame; a glance without the lock."""
        return bool(self._frames)

    def deadlines(self) -> list[Deadline]:
        """The deadlines of the waiting frames, in no order."""
        with self._changed:
            return [frame.deadline for frame in self._frames.values()]

    def reschedule(self, deadline: Callable[[Frame], Deadline]) -> None:
        """Give every waiting frame the deadline that `deadline(frame)` says now.

        For a new message on a deadline topic and for changed budget parameters. The function runs under the
        lock: it must be quick and must not call back into the store.
        """
        with self._changed:
            for frame in self._frames.values():
                frame.deadline = deadline(frame)

    def clear(self, later_than_ns: int | None = None) -> list[Frame]:
        """Remove and return the waiting frames that arrived after that instant (None: all), oldest first.

        For when the clock jumped back: what arrived later than now is of the time before.
        """
        with self._changed:
            frames = [
                frame
                for frame in self._frames.values()
                if later_than_ns is None or frame.arrival_ns > later_than_ns
            ]
            for frame in frames:
                del self._frames[frame.camera]
            return sorted(frames, key=lambda frame: frame.arrival_ns)

    def close(self) -> list[Frame]:
        """End it: every `take`, blocked or later, returns None. Returns the frames still waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        return self.clear()


def _urgency(frame: Frame) -> tuple[bool, int, int]:
    return frame.superseded < SUPERSEDED_LIMIT, frame.deadline.at_ns, frame.arrival_ns


class SequenceGaps:
    """Counts the messages of one topic that were published and never received here, by their sequence
    numbers.

    A number tells only about its own publisher, and the middleware does not say whose it is: with several
    publishers nothing is counted. Not thread-safe: it belongs to the thread that takes the messages.
    """

    def __init__(self) -> None:
        self._last: int | None = None

    def observe(self, sequence: int | None, publishers: int = 1) -> int:
        """How many messages are missing between the last one and this one.

        0 for the first message, after a restart of the publisher (the numbers fall back), while `publishers`
        exceeds 1, and where the middleware gives no number (None).
        """
        if sequence is None or publishers > 1:
            self._last = None
            return 0
        last, self._last = self._last, sequence
        if last is None or sequence <= last:
            return 0
        return sequence - last - 1
