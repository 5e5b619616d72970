"""Real-time scheduling and cores for the threads that compute an answer and the one that delivers it.

    realtime = RealTime(priority=10, cores=(2, 3))
    realtime.start()
    realtime.enter(COMPUTING)     # in the thread that classifies, before it warms up
    realtime.cover_pools()        # once it has
    realtime.state()              # for /diagnostics

**Which threads.** The thread that classifies, the pools of the inference runtime and of OpenCV, the thread
that delivers. Nothing else: DDS and Python's other threads stay as they are. The pools are found by the name
that they inherit (`process_threads`) and scheduled by id. What else was measured, with two threads (OpenVINO
2026.4, ONNX Runtime 1.32, torch 2.14, OpenCV; a first and a second model loaded in one process):

- *threads whose processor time grew while warming up*: 2 of OpenVINO's 37, 8 of ONNX Runtime's 18. The one
  that took most of the frames that followed, 93 ms, had taken nothing in three warm-up runs.
- *a creating thread that has the policy and is restored afterwards*: all that the runtime starts meanwhile,
  and none that was there before. With the second model OpenCV's pool stays ordinary (20 of 1,540 ms).
  Torch's pool belongs to the thread that calls it, and starts with that one's first frame.
- *by name*: all of them, each time. What a runtime starts later inherits the policy of the thread that starts
  it; the watchdog looks for others with each look.

**Priorities.** The threads that compute have `priority`. The one that delivers and the watchdog have one
more: a thread of the same priority would wait until one of those that compute sleeps.

**The watchdog** looks at the processor time of all of them, 20 times per window. Above `limit` of a core it
puts them back to ordinary scheduling for good: otherwise everything else on that core stands still, a
terminal included. It is a thread of Python's and needs the interpreter; against native code that never lets
go of it there is only the kernel's own limit (sched_rt_runtime_us).
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass

from impatient_ros.perception.core_watchdog import CoreWatchdog, Reading
from impatient_ros.perception.process_threads import (
    COMPUTING,
    core,
    cpu_seconds,
    name_this_thread,
    named,
    place,
    schedule,
    thread_ids,
)
from impatient_ros.perception.realtime_permission import permission_advice
from impatient_ros.runtime.machine import permitted_processors

__all__ = ['HIGHEST_PRIORITY', 'RealTime', 'RealTimeState', 'switch_threads_every']

HIGHEST_PRIORITY = 98  # one less than Linux has: the watchdog's is one more
_ENDED = (errno.ESRCH, errno.ENOENT, errno.EINVAL)  # what a thread's clock and its folder say when it has
LOOKS = 20  # of the watchdog per window: enough that threads which change cores are spread as they did


@dataclass(frozen=True)
class RealTimeState:
    """For /diagnostics."""

    priority: int = 0  # of the threads that compute, as it is; 0: ordinary scheduling
    threads: int = 0  # that were found: those that compute and the one that delivers
    busiest_core: int = 0
    busiest_share: float = 0.0  # of that core, that they took in the watchdog's latest window
    problem: str = ''  # why it is not as it was asked for, and what to do


class RealTime:
    """Belongs to one activation of the node; thread-safe.

    Args:
        priority: of the threads that compute (SCHED_FIFO, 1 to `HIGHEST_PRIORITY`); 0: ordinary scheduling.
        cores: on which all of these threads run; none: on all that the process may use.
        limit: share of a core that they may take together over `window` seconds.
    """

    def __init__(
        self, priority: int = 0, cores: Collection[int] = (), *, limit: float = 0.9, window: float = 1.0
    ) -> None:
        self._priority = priority  # 0 after falling back
        self._cores = cores
        self._limit = limit
        self._window = window
        self._lock = threading.Lock()
        self._covered: dict[int, int] = {}  # thread id: its priority
        self._known: set[int] = set()  # threads that were looked at
        self._readings: dict[int, Reading] = {}
        self._problem = ''
        self._watchdog = CoreWatchdog(self._read, time.monotonic, limit=limit, window=window)
        self._decided = threading.Event()  # whether it is permitted
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)

    def start(self) -> None:
        """Start the watchdog, if there is something to watch; it learns whether real time is permitted."""
        if self._priority:
            self._thread.start()
            self._decided.wait()

    def enter(self, name: str, *, above: int = 0) -> None:
        """The calling thread is one of those meant: its name for Linux, and how far its priority is above
        that of those that compute.
        """
        name_this_thread(name)
        self._cover(threading.get_native_id(), above)

    def cover_pools(self) -> None:
        """Find the threads of the pools; by the thread that classifies, after warming up."""
        with self._lock:
            there = thread_ids()
            if threading.get_native_id() not in there:  # the system did not say this time
                return
            new, self._known = there - self._known, there
            for tid in self._covered.keys() - there:
                del self._covered[tid]
        for tid in named(COMPUTING, new):
            self._cover(tid, 0)

    def stop(self) -> None:
        """End the watchdog; pools live on with ordinary scheduling and all cores."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._release()

    def state(self) -> RealTimeState:
        """How it is now."""
        with self._lock:
            busiest, share = self._watchdog.busiest
            return RealTimeState(self._priority, len(self._covered), busiest, share, self._problem)

    def _cover(self, tid: int, above: int) -> None:
        with self._lock:
            if tid in self._covered:
                return
            self._covered[tid] = above
            try:
                if self._cores:
                    place([tid], self._cores)
                if self._priority:
                    schedule(tid, self._priority + above)
            except OSError as error:  # what was permitted is so no more
                self._problem = f'cpu_affinity or realtime_priority cannot be had any more: {error}'

    def _release(self) -> None:
        """Ordinary scheduling and all cores for all of them."""
        with self._lock:
            for tid in self._covered:
                if self._priority:
                    schedule(tid, 0)
                if self._cores:
                    place([tid], permitted_processors(os.getpid()))
            self._covered.clear()

    def _give_up(self, problem: str) -> None:
        with self._lock:
            for tid in self._covered:
                schedule(tid, 0)
            self._priority, self._problem = 0, problem

    def _watch(self) -> None:
        name_this_thread('watchdog')
        asked = self._priority
        try:
            # First of all its own: whoever may not have the highest of the priorities gets none.
            schedule(threading.get_native_id(), asked + 1)
        except (AttributeError, OSError) as error:
            refused = (
                f'realtime_priority {asked} is not permitted here ({error}), ordinary scheduling is used'
            )
            self._give_up(refused)  # first, whatever becomes of the advice
            self._give_up(f'{refused}: {permission_advice(asked + 1)}')
            return
        finally:
            self._decided.set()
        try:
            while not self._stopping.wait(self._window / LOOKS):
                self.cover_pools()
                if self._watchdog.look():
                    self._give_up(self._too_much(asked))
                    return
        except Exception as error:  # noqa: BLE001  no real time without the watchdog
            self._give_up(f'realtime_priority {asked} was given up, the watchdog failed: {error!r}')

    def _too_much(self, asked: int) -> str:
        number, share = self._watchdog.busiest
        return (
            f'realtime_priority {asked} was given up: answering took {share:.0%} of core {number} for '
            f'{self._window:g} s, more than realtime_limit {self._limit:g} permits, ordinary scheduling is '
            'used; let fewer frames come, give it more cores or a lighter model, or raise realtime_limit, '
            'then deactivate and activate the node'
        )

    def _read(self) -> dict[int, Reading]:
        """The processor time of each thread and its core, which is looked up where it has moved on."""
        with self._lock:
            covered = list(self._covered)
        found: dict[int, Reading] = {}
        for tid in covered:
            try:
                seconds = cpu_seconds(tid)
                before = self._readings.get(tid)
                if before is None or before.seconds != seconds:
                    before = Reading(seconds, core(tid))
                found[tid] = before
            except OSError as error:
                if error.errno not in _ENDED:  # a thread that cannot be read is not watched
                    raise
        self._readings = found
        return found


def switch_threads_every(seconds: float) -> None:
    """How long a thread may keep Python's interpreter while another one waits for it (0: Python's default).

    It holds for the whole process.
    """
    sys.setswitchinterval(seconds or 0.005)
