"""What became of every frame: outcomes, exits, slack, misses, faults.

Every frame that reaches the node ends in exactly one `FrameRecord`. `Monitor` adds them up: counts since the
last reset, rates and quantiles over a sliding window of seconds (and of a bounded number of frames per
camera).

    miss rate     frames without an answer by their deadline (missed, late)
                  / frames whose budget admitted one (answered, late, missed)
    overrun rate  frames whose promised exit (the first one of their plan) came later than promised, or never
                  / frames to which one was promised; what `budget.miss_rate` is about
    infeasible    apart from both: their budget was below the cost of the first exit

Seconds everywhere.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from impatient_ros.perception.frame_record import CONFIDENT, FrameRecord, Outcome
from impatient_ros.perception.statistics import CameraStatistics, Summary, Tally

__all__ = ['CONFIDENT', 'CameraStatistics', 'FrameRecord', 'Monitor', 'Outcome', 'Snapshot']


@dataclass(frozen=True)
class Snapshot:
    """The statistics at one instant; `window` is the length of the window in seconds."""

    cameras: Mapping[str, CameraStatistics]
    total: CameraStatistics
    window: float


class Monitor:
    """Adds up frame records per camera; thread-safe.

    `cameras` appear in the snapshot before their first frame. The window spans `window` seconds and at most
    `frames` frames per camera; `now` is a steady clock.
    """

    def __init__(
        self,
        cameras: Iterable[str] = (),
        *,
        window: float = 10.0,
        frames: int = 1000,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = tuple(cameras)
        self._window = window
        self._limit = frames
        self._now = now
        self._lock = threading.Lock()
        self._cameras: dict[str, _Camera] = {}
        self.reset()

    def record(self, record: FrameRecord) -> None:
        """Count one frame's end."""
        with self._lock:
            self._of(record.camera).add(self._now(), record)

    def not_received(self, camera: str, count: int) -> None:
        """Count frames that were published and never arrived."""
        if count > 0:
            with self._lock:
                self._of(camera).lose(self._now(), count)

    def reset(self) -> None:
        """Forget everything; the cameras stay, with nothing counted."""
        with self._lock:
            self._start = self._now()
            names = dict.fromkeys((*self._names, *self._cameras))
            self._cameras = {name: _Camera(self._start, self._limit) for name in names}

    def watch(self, cameras: Iterable[str]) -> None:
        """The cameras are these from now on: new ones appear with nothing counted, others go."""
        with self._lock:
            self._names = tuple(cameras)
            self._cameras = {name: self._of(name) for name in self._names}

    def snapshot(self, now: float | None = None) -> Snapshot:
        """The statistics at `now` (default: the clock's)."""
        with self._lock:
            now = self._now() if now is None else now
            copies = {name: camera.copy(now - self._window) for name, camera in self._cameras.items()}
        # Counting and sorting happen outside the lock: the frames' threads never wait for a snapshot.
        cameras = {name: copy.summary(now, self._window) for name, copy in copies.items()}
        total = Summary(self._start)
        for summary in cameras.values():
            total.merge(summary)
        return Snapshot(
            cameras={name: summary.statistics(name, now) for name, summary in cameras.items()},
            total=total.statistics('', now),
            window=self._window,
        )

    def _of(self, camera: str) -> '_Camera':
        if camera not in self._cameras:
            self._cameras[camera] = _Camera(self._now(), self._limit)
        return self._cameras[camera]


class _Camera:
    """One camera's counts since the reset and its records in the window; not locked."""

    def __init__(self, start: float, limit: int) -> None:
        self.start = start
        self.last: float | None = None
        self.tally = Tally()
        self.lost = 0
        self.records: deque[tuple[float, FrameRecord]] = deque(maxlen=limit)
        self.losses: deque[tuple[float, int]] = deque(maxlen=limit)

    def add(self, now: float, record: FrameRecord) -> None:
        self.last = now
        self.tally.add(record)
        self.records.append((now, record))

    def lose(self, now: float, count: int) -> None:
        self.lost += count
        self.losses.append((now, count))

    def copy(self, since: float) -> '_Camera':
        """A copy of the counts and of what lies in the window; older records are forgotten here too."""
        for entries in (self.records, self.losses):
            while entries and entries[0][0] < since:
                entries.popleft()
        copy = _Camera(self.start, self.records.maxlen or 0)
        copy.last, copy.lost = self.last, self.lost
        copy.tally.merge(self.tally)
        copy.records, copy.losses = self.records.copy(), self.losses.copy()
        return copy

    def summary(self, now: float, window: float) -> 'Summary':
        summary = Summary(self.start if self.last is None else self.last)
        summary.tally = self.tally
        summary.lost = self.lost
        summary.recently_lost = sum(count for _, count in self.losses)
        for moment, record in self.records:
            summary.add(moment, record)
        # The seconds that the records stand for; at least one, so that a first frame is no burst.
        start = max(self.start, now - window)
        if len(self.records) == self.records.maxlen:
            start = max(start, self.records[0][0])  # older ones were pushed out by number, not by age
        span = max(now - start, min(1.0, window))
        summary.rate = len(self.records) / span
        summary.answer_rate = sum(summary.recent.exits.values()) / span
        return summary
