"""Stopping the execution of a frame whose answer is of no use any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from impatient_ros.runtime import Runtime

__all__ = ['Cancellation']


class Cancellation:
    """One frame's; whoever decides when the frame has ended keeps it, and hands it over with the request.

    The thread that classifies says while what may be stopped (`covering`); any thread may `cancel`. A lock
    lies between the two, so that no cancellation can hit the frame after this one.

    Attributes:
        requested: whether the frame is to be stopped.
    """

    def __init__(self) -> None:
        self.requested = False
        self._lock = threading.Lock()
        self._runtime: Runtime | None = None  # while it executes this frame

    @contextmanager
    def covering(self, runtime: Runtime) -> Iterator[None]:
        """What `runtime` executes in this context is the frame's."""
        with self._lock:
            self._runtime = runtime
        try:
            yield
        finally:
            with self._lock:
                self._runtime = None

    def cancel(self) -> None:
        """Stop the frame: what is being executed at the next operator, where the runtime can, or else at the
        next boundary; what had not begun is not begun. Nothing happens to a frame that has been executed.
        """
        with self._lock:
            self.requested = True
            if self._runtime is not None:
                self._runtime.cancel()
