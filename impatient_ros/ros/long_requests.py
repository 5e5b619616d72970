"""What takes long, in a thread of its own: the steps of the lifecycle and profiling.

Meanwhile the executor serves everything else. One such job runs at a time; a request for another one is
refused, so that every request has its answer at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from impatient_ros.ros.requests import RequestRefusedError

__all__ = ['LongRequests']

# Seconds for which `stop` waits for what may be abandoned: profiling ends between two rounds, of some tens of
# milliseconds each; compiling cannot be ended. A signal is to end the node within 1 s.
PATIENCE = 0.3


class LongRequests:
    """Belongs to the thread that serves `node`; the jobs run in another one.

    Attributes:
        group: for services whose callbacks await a job: while one waits, the next request can be refused.
        busy: what is under way; '': nothing.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._abandonable = False
        self.group = ReentrantCallbackGroup()
        self.busy = ''

    def start(self, what: str, job: Callable[[], Any]) -> Future:
        """Run `job` in its thread; what it returns or raises is the future's. Raises RequestRefusedError."""
        if self.busy:
            raise RequestRefusedError(f'{self.busy} is under way: try again when that has ended')
        self.busy = what
        future = Future(executor=self._node.executor)
        self._thread = threading.Thread(
            target=self._run, args=(job, future), name='long request', daemon=True
        )
        self._thread.start()
        return future

    def stop(self) -> None:
        """Wait for the job to end, or for a moment while it may be abandoned; no other one may be started."""
        self._stopping.set()
        until = time.monotonic() + PATIENCE
        while self._thread is not None and self._thread.is_alive():
            if self._abandonable and time.monotonic() > until:
                return
            self._thread.join(PATIENCE / 10)

    @contextmanager
    def abandonable(self) -> Iterator[None]:
        """Within it a job has nothing to lose: `stop` may leave it, and it ends then with SystemExit."""
        self._abandonable = True
        try:
            yield
        finally:
            self._abandonable = False
            self.check()

    def check(self) -> None:
        """For what is abandonable, now and then: end the job if it is to stop."""
        if self._stopping.is_set():
            raise SystemExit  # which no `except Exception` on the way holds up

    def _run(self, job: Callable[[], Any], future: Future) -> None:
        result, failure = None, None
        try:
            result = job()
        except Exception as error:  # noqa: BLE001  it is raised where the future is awaited
            failure = error
        except SystemExit:
            return  # the node ends, and nobody waits
        self.busy = ''
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)
        if (executor := self._node.executor) is not None:
            executor.wake()  # a future does not wake whoever waits for it
