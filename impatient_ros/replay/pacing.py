"""Waiting for the instants of an absolute schedule: lateness of one frame does not delay the next."""

import logging
import time
from collections.abc import Callable

__all__ = ['Pacer']

FALLEN_BEHIND = 1.0  # s; after a longer stall (a suspended machine) the rest is shifted, not rushed through
TICK = 0.005  # s between calls of `tick` while waiting

logger = logging.getLogger(__name__)


class Pacer:
    """Counts seconds from `start`, and waits. `wait(seconds)` returns true when the replay is to stop."""

    def __init__(self, wait: Callable[[float], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._wait, self._clock = wait, clock
        self._start = clock()
        self.lateness = 0.0  # s; the worst so far

    def start(self, delay: float = 0.0) -> None:
        """Let time zero be `delay` seconds from now."""
        self._start = self._clock() + delay

    def elapsed(self) -> float:
        return self._clock() - self._start

    def until(self, due: float, tick: Callable[[], None] | None = None) -> bool:
        """Wait until `due` seconds after the start, calling `tick` meanwhile; False when told to stop."""
        waited = False
        while True:
            if tick is not None:
                tick()
            remaining = due - self.elapsed()
            if remaining <= 0:
                break
            waited = True
            if self._wait(remaining if tick is None else min(remaining, TICK)):
                return False
        self.lateness = max(self.lateness, -remaining)
        if not waited and -remaining > FALLEN_BEHIND:
            logger.warning('the replay fell %.1f s behind its schedule, which is shifted by that', -remaining)
            self._start -= remaining
        return not self._wait(0.0)
