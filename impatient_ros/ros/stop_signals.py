"""SIGINT and SIGTERM as something that the main thread can wait for."""

import contextlib
import signal
import socket
from collections.abc import Iterable

__all__ = ['StopSignals']


class StopSignals:
    """Takes the signals over from now on; for the main thread.

    An event that a handler sets is not enough: a signal may interrupt any thread, Python runs its handlers in
    the main thread only, and that one sleeps on the event's lock until something else wakes it. Python's
    wake-up descriptor is written by whichever thread was interrupted.
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
        with contextlib.suppress(BlockingIOError):  # full: it will not wait anyhow
            self._writer.send(b'\0')

    def ignore(self) -> None:
        """From now on the signals do nothing, also while the interpreter ends: it restores no ignored one."""
        signal.set_wakeup_fd(-1)
        for number in self._numbers:
            signal.signal(number, signal.SIG_IGN)
        self._reader.close()
        self._writer.close()
