"""Waking up in time: real-time priority for the thread that publishes, Python's switch interval."""

import logging
import os
import sys

__all__ = ['prefer_this_thread', 'switch_threads_every']

_log = logging.getLogger(__name__)


def prefer_this_thread(priority: int) -> bool:
    """Give the calling thread a real-time priority (SCHED_FIFO, 1 to 99; 0: leave it as it is).

    Returns whether it has it. Where the system does not permit it a warning says what to do, once per call.
    """
    if priority == 0:
        return False
    try:
        # 0 is the calling thread: Linux schedules threads, not processes.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except (AttributeError, OSError) as error:
        _log.warning(
            'realtime_priority %d is not permitted here (%s): permit it (ulimit -r %d, rtprio in '
            '/etc/security/limits.conf, CAP_SYS_NICE) or set it to 0',
            priority,
            error,
            priority,
        )
        return False
    return True


def switch_threads_every(seconds: float) -> None:
    """How long a thread may keep Python's interpreter while another one waits for it (0: Python's default).

    It holds for the whole process.
    """
    sys.setswitchinterval(seconds or 0.005)
