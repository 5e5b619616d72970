"""How much of each core real-time threads take, and when that is too much: nothing else would run there."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

__all__ = ['CoreWatchdog', 'Reading']


class Reading(NamedTuple):
    """Of one thread: its processor time so far, and the core that it ran on last."""

    seconds: float
    core: int


class CoreWatchdog:
    """Judges by the latest `window` seconds. Not thread-safe.

    A thread's time between two looks counts for the core on which it is found at the second one, and a core's
    at most as the time that passed: over many looks in a window, one that moves to and fro is spread as it
    moved.

    Args:
        read: the threads by id.
        now: steady clock, seconds.
        limit: share of a core (0..1) that they may take together; 1: nothing is ever too much.
        window: seconds.

    Attributes:
        busiest: the core of which they took most in the window, and the share; (0, 0.0) before there was one.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[int, Reading]],
        now: Callable[[], float],
        *,
        limit: float = 0.9,
        window: float = 1.0,
    ) -> None:
        self._read = read
        self._now = now
        self._limit = limit
        self._window = window
        self._before: Mapping[int, Reading] = {}
        # When, and the seconds by core since the look before.
        self._looks: deque[tuple[float, Mapping[int, float]]] = deque()
        self.busiest: tuple[int, float] = (0, 0.0)

    def look(self) -> bool:
        """Read the threads; returns whether they took more of a core than they may, over a whole window."""
        now, readings = self._now(), self._read()
        taken: defaultdict[int, float] = defaultdict(float)
        for tid, reading in readings.items():
            if tid in self._before:  # one that is new counts from now on
                taken[reading.core] += reading.seconds - self._before[tid].seconds
        self._before = readings
        passed = now - self._looks[-1][0] if self._looks else 0.0
        self._looks.append((now, {core: min(seconds, passed) for core, seconds in taken.items()}))
        # The first look only says from when on the others count.
        while len(self._looks) > 1 and self._looks[1][0] <= now - self._window:
            self._looks.popleft()
        span = now - self._looks[0][0]
        if span < self._window:
            return False
        total: defaultdict[int, float] = defaultdict(float)
        for _, seconds_by_core in list(self._looks)[1:]:
            for core, seconds in seconds_by_core.items():
                total[core] += seconds
        core, most = max(total.items(), key=lambda item: item[1], default=(0, 0.0))
        self.busiest = core, most / span
        return self.busiest[1] > self._limit and self._limit < 1
