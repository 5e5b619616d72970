"""Two ways to execute the same frame, timed run by run as frames come."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ['take_turns']

PAUSE = 0.004  # s before every run; worker threads sleep by then
# Chosen, not measured: enough runs for a lower quartile, and a start that is hardly longer.
ROUNDS = 15
TIME_LIMIT = 1.5  # s
LEAST_ROUNDS = 3


def take_turns(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[float], list[float]]:
    """Seconds of each run of the two, in turns: what else the machine does meets both alike."""
    took: tuple[list[float], list[float]] = ([], [])
    began = clock()
    for done in range(ROUNDS):
        if done >= LEAST_ROUNDS and clock() - began > TIME_LIMIT:
            break
        for run, times in zip((first, second), took, strict=True):
            sleep(PAUSE)
            start = clock()
            run()
            times.append(clock() - start)
    return took
