"""A thread that serves a node's callbacks, whatever they raise."""

import threading
from collections.abc import Callable
from typing import Any

from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.service import Service
from rclpy.subscription import Subscription
from rosgraph_msgs.msg import Clock

from impatient_ros.perception.faults import Faults

__all__ = ['ExecutorThread']

# What rclpy raises for a message that cannot be deserialised, or whose texts are not UTF-8.
UNREADABLE = (_rclpy.RCLError, UnicodeDecodeError)


class ExecutorThread:
    """Spins `node` in a thread of its own, until `stop` or the end of its context.

    What a callback raises is survived, and counted by `faults`. `rclpy`'s own `shutdown` destroys what the
    spinning thread is about to wait for; here that thread has left before. `ended` is called by the thread as
    the last thing that it does.
    """

    def __init__(
        self,
        node: Node,
        *,
        name: str = 'executor',
        ended: Callable[[], None] | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.executor = SingleThreadedExecutor(context=node.context)
        self.executor.add_node(node)
        self._ended = ended
        self._faults = faults or Faults()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)
        self.failed = False  # whether it ended since it could not go on

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
        self.failed = not self._faults.keep_running(self._serve, 'executor')
        if self._ended is not None:
            self._ended()

    def _serve(self) -> bool:
        """Wait for a callback and execute it, or go on with it; returns whether more may come."""
        if self._stopping.is_set() or not self.executor.context.ok():
            return False
        try:
            task, entity, _ = self.executor.wait_for_ready_callbacks()
        except (ExternalShutdownException, ShutdownException):
            return False
        task()
        error = task.exception()
        if error is not None:
            _release(entity)
            self._tell(entity, error)
        return True

    def _tell(self, entity: Any, error: Exception) -> None:
        name = _name(entity)
        unreadable = isinstance(entity, Subscription | Service) and isinstance(error, UNREADABLE)
        if unreadable or (_is_clock(entity) and isinstance(error, ValueError)):
            self._faults.refused(f'a message on {name} was', str(error))
        else:
            self._faults.survived(name, error)


def _release(entity: Any) -> None:
    """Let an entity be served again: where taking its message fails, rclpy forgets to."""
    if entity is None:
        return
    entity._executor_event = False
    group = entity.callback_group
    if getattr(group, '_active_entity', None) is entity:
        group.ending_execution(entity)


def _is_clock(entity: Any) -> bool:
    """Whether it is the subscription of simulated time; rclpy's raises for an instant before 1970."""
    return isinstance(entity, Subscription) and entity.msg_type is Clock


def _name(entity: Any) -> str:
    """A name for counting."""
    try:
        if isinstance(entity, Subscription):
            return entity.topic_name
        if isinstance(entity, Service):
            return entity.service_name
    except _rclpy.InvalidHandle:  # it was destroyed meanwhile
        pass
    return 'executor' if entity is None else type(entity).__name__.lower()
