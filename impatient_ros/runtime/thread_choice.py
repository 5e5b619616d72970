"""How many threads should compute one frame of a network: all that there are, or one?

A small network is slower with several. Between two frames the worker threads fall asleep, and waking one up
on an idle core of a virtual machine takes longer (about 1 ms) than the half of the work that it would take
over; beside other work the frame waits for whichever worker does not get its core (p99 of the default model's
first exit beside a busy process per core: 0.8 ms with one thread, 6 ms with two). A large network is faster
with several, beside other work too. So small ones are measured as frames come: with a pause before every run,
which measurements back to back do not have. Their quicker runs count, since the machine may be busy while the
node starts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from impatient_ros.runtime.paired_runs import take_turns

__all__ = ['faster_with_several']

# Several threads must take less than this share of one thread's time. Chosen, not measured: beside other work
# several threads cost more than they save on a quiet machine.
WORTH = 0.85
# Seconds for a frame with one thread: a network that takes longer is not a small one. Chosen, not measured.
SMALL = 0.006


def faster_with_several(
    one: Callable[[], object],
    several: Callable[[], object],
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Whether a frame is clearly faster with several threads; both functions run the same frame."""
    took = take_turns(one, several, clock=clock, sleep=sleep)
    quick_one, quick_several = (statistics.quantiles(times, n=4)[0] for times in took)
    return quick_one > SMALL or quick_several < WORTH * quick_one
