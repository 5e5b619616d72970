"""Waiting for SIGINT or SIGTERM in the main thread, and a flag that a handler may set.

Neither uses a `threading.Event`: its lock is not reentrant. A handler runs in the main thread, between any
two of its bytecodes; where it sets an event while that thread is inside the same event's `wait`, it waits for
a lock that its own thread holds, for ever.
"""

import contextlib
import signal
import socket
import time
from collections.abc import Iterable

__all__ = ['StopFlag', 'StopSignals']

SLICE = 0.01  # s; how soon a flag is noticed


class StopFlag:
    """A flag that signal handlers may set, and any thread; once set, it stays."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float) -> bool:
        """Sleep until it is set, for `timeout` seconds at most; returns whether it is."""
        until = time.monotonic() + timeout
        while not self._set and (remaining := until - time.monotonic()) > 0:
            time.sleep(min(remaining, SLICE))
        return self._set


class StopSignals:
    """Handles the signals from its construction on, in place of Python's handlers; made in the main thread.

    It sleeps without looking up now and then, so a flag that a handler sets is not enough. The kernel may
    deliver a signal to any thread, but Python runs handlers in the main thread only, which would sleep until
    something else wakes it. Python's wake-up descriptor is written by the thread that got the signal.
    """

    def __init__(self, numbers: Iterable[int] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self._numbers = tuple(numbers)
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            signal.signal(number, lambda *_: None)

    def wait(self) -> None:
        """Block until one of the signals has come, or `set` was called."""
        while self._reader.recv(1)[0] not in (0, *self._numbers):
            pass

    def set(self) -> None:
        """End `wait`; from any thread."""
        with contextlib.suppress(BlockingIOError):  # the socket is full, so `wait` returns in any case
            self._writer.send(b'\0')

    def ignore(self) -> None:
        """Make the signals do nothing, even while the interpreter ends: it leaves ignored signals ignored."""
        signal.set_wakeup_fd(-1)
        for number in self._numbers:
            signal.signal(number, signal.SIG_IGN)
        self._reader.close()
        self._writer.close()
