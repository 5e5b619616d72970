"""What became of every frame: outcomes, paths, slack, misses, faults.

Every frame that reaches the node ends in exactly one `FrameRecord`. `Monitor` adds them up: counts since the
last reset, rates and quantiles over a sliding window of seconds (and of a bounded number of frames per
camera).

    miss rate     frames without an answer by their deadline (missed, late)
                  / frames whose budget admitted one (answered, late, missed)
    overrun rate  frames whose protected path came later than planned, or never
                  / frames whose plan protected one; what `budget.miss_rate` is about
    infeasible    apart from both: their budget was below the cost of the cheapest path

Seconds everywhere.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from impatient_ros.perception.frame_record import FrameRecord
from impatient_ros.perception.statistics import CameraStatistics, Tally, WindowSummary

__all__ = ['Monitor', 'Snapshot']


@dataclass(frozen=True)
class Snapshot:
    """The statistics at one instant; `window` is the length of the window in seconds."""

    cameras: Mapping[str, CameraStatistics]
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
        with self._lock:
            self._of(camera).lose(self._now(), count)

    def reset(self) -> None:
        """Forget everything; the cameras stay, with nothing counted."""
        with self._lock:
            names = dict.fromkeys((*self._names, *self._cameras))
            self._cameras = {name: _Camera(self._now(), self._limit) for name in names}

    def snapshot(self) -> Snapshot:
        """The statistics now."""
        with self._lock:
            now = self._now()
            copies = {name: camera.copy(now - self._window) for name, camera in self._cameras.items()}
        # Counting and sorting happen outside the lock: the frames' threads never wait for a snapshot.
        cameras = {name: copy.statistics(now, self._window) for name, copy in copies.items()}
        return Snapshot(cameras, self._window)

    def _of(self, camera: str) -> '_Camera':
        if camera not in self._cameras:
            self._cameras[camera] = _Camera(self._now(), self._limit)
        return self._cameras[camera]


class _Camera:
    """One camera's counts since the reset and its records in the window; not locked."""

    def __init__(self, start: float, limit: int) -> None:
        self.start = self.last = start
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
        copy.last, copy.lost, copy.tally = self.last, self.lost, self.tally.copy()
        copy.records, copy.losses = self.records.copy(), self.losses.copy()
        return copy

    def statistics(self, now: float, window: float) -> CameraStatistics:
        summary = WindowSummary()
        for _, record in self.records:
            summary.add(record)
        start = max(self.start, now - window)
        if len(self.records) == self.records.maxlen:
            start = max(start, self.records[0][0])  # older ones were pushed out by number, not by age
        return summary.statistics(
            self.tally,
            span=max(now - start, min(1.0, window)),  # at least a second, so that a first frame is no burst
            not_received=self.lost,
            recent_not_received=sum(count for _, count in self.losses),
            silent=now - self.last,
        )
