"""The threads of this process as Linux sees them: which ones compute, where they run, how they are scheduled.

A runtime does not tell which threads it has, and starts some whenever it likes. Linux lets a thread inherit
the name of the one that starts it, so whoever makes or runs a network bears the name `COMPUTING` meanwhile,
and every thread of a pool that comes of it bears it for good. None of the libraries in use names its threads.
`top -H` and `perf` show the name, too.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from impatient_ros.runtime.machine import permitted_processors

__all__ = [
    'COMPUTING',
    'computing',
    'core',
    'cpu_seconds',
    'name_this_thread',
    'named',
    'place',
    'schedule',
    'thread_ids',
]

COMPUTING = 'inference'  # Linux keeps 15 bytes of a name
_TASKS = Path('/proc/self/task')
_THIS = Path('/proc/thread-self/comm')


@contextmanager
def computing(cores: Collection[int] = ()) -> Iterator[None]:
    """Within it the calling thread makes or runs a network, on these cores only (none: all that the process
    may use): what is measured and how many threads are taken fits them.

    Raises OSError where the process may not run there.
    """
    name, before = _name(threading.get_native_id()), permitted_processors()
    name_this_thread(COMPUTING)
    try:
        if cores:
            place(named(COMPUTING), cores)
        yield
    finally:
        if cores:
            place(named(COMPUTING), before)
        name_this_thread(name)


def name_this_thread(name: str) -> None:
    """For Linux, which shows it and hands it on to threads that are started from this one."""
    with suppress(OSError):  # not on Linux, or no /proc: then only known threads count
        _THIS.write_text(name, encoding='utf-8')


def named(name: str, among: Iterable[int] | None = None) -> set[int]:
    """The ids of the threads of that name, of all or of some; Python's own but for the calling one left out.

    A thread that Python starts from one that computes bears its name, too, and does not compute.
    """
    python = {each.native_id for each in threading.enumerate()} - {threading.get_native_id()}
    candidates = thread_ids() if among is None else set(among)
    return {tid for tid in candidates - python if _name(tid) == name}


def thread_ids() -> set[int]:
    """Those of all threads of this process; none where the system does not say."""
    try:
        return set(map(int, os.listdir(_TASKS)))
    except OSError:
        return set()


def schedule(tid: int, priority: int) -> None:
    """SCHED_FIFO with that priority, or ordinary scheduling (0), for one thread, of any process.

    Raises PermissionError where it is not permitted, AttributeError where there is no such thing.
    """
    policy = os.SCHED_FIFO if priority else os.SCHED_OTHER
    with suppress(ProcessLookupError):  # it has ended
        os.sched_setscheduler(tid, policy, os.sched_param(priority))


def place(tids: Iterable[int], cores: Collection[int]) -> None:
    """Let these threads run on these cores only. Raises OSError where the process may not run there."""
    for tid in tids:
        with suppress(ProcessLookupError):
            os.sched_setaffinity(tid, cores)


def cpu_seconds(tid: int) -> float:
    """Processor time of a thread of this process so far, to nanoseconds; raises OSError for one that ended.

    The clock's number is the one that pthread_getcpuclockid(3) makes: the complement of the thread's id, then
    the kernel's CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD_MASK.
    """
    return time.clock_gettime((~tid << 3) | 6)


def core(tid: int) -> int:
    """The core that a thread of this process ran on last; raises OSError for one that ended."""
    text = (_TASKS / str(tid) / 'stat').read_text(encoding='utf-8', errors='replace')
    # Field 39 of proc_pid_stat(5); the name, field 2, may contain blanks and parentheses.
    return int(text.rpartition(')')[2].split()[36])


def _name(tid: int) -> str:
    try:
        return (_TASKS / str(tid) / 'comm').read_text(encoding='utf-8', errors='replace').rstrip('\n')
    except OSError:
        return ''
