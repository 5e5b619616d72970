"""Waiting for SIGINT or SIGTERM in the main thread."""

import contextlib
import signal
import socket
from collections.abc import Iterable

__all__ = ['StopSignals']


class StopSignals:
    """Handles the signals from its construction on, in place of Python's handlers; made in the main thread.

    A `threading.Event` set by a handler is not enough. The kernel may deliver a signal to any thread, but
    Python runs handlers in the main thread only, and the main thread would sleep on the event's lock until
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
