"""A thread that serves a node's callbacks."""

import logging
import threading
from collections.abc import Callable

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

__all__ = ['ExecutorThread']

_log = logging.getLogger(__name__)


class ExecutorThread:
    """Spins `node` in a thread of its own, until `stop`, the end of its context, or an error in a callback.

    `rclpy`'s own `shutdown` destroys what the spinning thread is about to wait for; here that thread has left
    before. `ended` is called by the thread as the last thing that it does.
    """

    def __init__(
        self, node: Node, *, name: str = 'executor', ended: Callable[[], None] | None = None
    ) -> None:
        self.executor = SingleThreadedExecutor(context=node.context)
        self.executor.add_node(node)
        self._ended = ended
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)
        self.failed = False  # whether a callback's error ended it

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Return when the callback that runs has ended; no other one begins. It may be called twice."""
        self._stopping.set()
        if self._thread.ident is not None:
            # Spinning once ends with something done; `wake` alone lets it wait again.
            if self._thread.is_alive():
                self.executor.create_task(lambda: None)
            self._thread.join()
        self.executor.shutdown()

    def _spin(self) -> None:
        try:
            while not self._stopping.is_set() and self.executor.context.ok():
                self.executor.spin_once()
        except ExternalShutdownException:
            pass
        except Exception:  # noqa: BLE001
            _log.exception('the executor ended')
            self.failed = True
        if self._ended is not None:
            self._ended()
