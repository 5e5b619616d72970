"""The thread that only takes images.

Images arrive in bulk; on the executor that serves parameters and lifecycle they would starve it. So the image
subscriptions belong to the node, where tools see them, but are waited for here. They are taken serialised and
read in place (`images.serialized`): deserialising copies all pixels and makes other threads wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from impatient_ros.images.errors import ImageError
from impatient_ros.images.serialized import Unreadable, read_compressed_image, read_image
from impatient_ros.perception.faults import Faults
from impatient_ros.perception.frame_record import INTERNAL_ERROR
from impatient_ros.ros.messages import header_message

__all__ = ['IMAGE_QOS', 'ImageIntake']

# Best effort meets every publisher; depth 1 since only the newest frame is of use.
IMAGE_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)

MESSAGE_TYPES = {'raw': Image, 'compressed': CompressedImage}  # by transport, see perception.settings
READERS = {Image: read_image, CompressedImage: read_compressed_image}

Receive = Callable[[str, Any, int | None, int], None]


class _NoExecutor(CallbackGroup):
    """Keeps its subscriptions out of the executor: they are waited for by `ImageIntake`."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        return


class ImageIntake:
    """Subscribes to the cameras and hands every message to `receive` in a thread of its own.

    Args:
        receive: called with camera, message (a view of `images.serialized` with a std_msgs/Header), the
            publisher's sequence number (None where the middleware does not tell) and how many publishers the
            topic had when they were last counted; must be quick.
    """

    def __init__(self, node: Node, receive: Receive, faults: Faults | None = None) -> None:
        self._node = node
        self._receive = receive
        self._faults = faults or Faults()
        self._group = _NoExecutor()
        self._cameras: dict[Subscription, str] = {}
        self._topics: dict[str, str] = {}  # by camera
        self._bytes: dict[str, int] = {}  # of the latest message, by camera; the intake's thread writes it
        self._publishers: dict[str, int] = {}  # by camera; replaced as a whole by the node's thread
        self._wake = GuardCondition(callback=None, callback_group=None, context=node.context)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name='image-intake', daemon=True)

    def subscribe(self, camera: str, transport: str, topic: str) -> None:
        """Add a camera; before `start`."""
        message_type = MESSAGE_TYPES[transport]
        subscription = self._node.create_subscription(
            message_type, topic, lambda message: None, IMAGE_QOS, callback_group=self._group, raw=True
        )
        self._cameras[subscription] = camera
        self._topics[camera] = subscription.topic_name

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and the subscriptions; no `receive` runs after it returns."""
        self._stopping.set()
        self._wake.trigger()
        if self._thread.ident is not None:
            self._thread.join()
        for subscription in self._cameras:
            self._node.destroy_subscription(subscription)
        self._cameras.clear()
        self._wake.destroy()

    def message_bytes(self, camera: str) -> int:
        """How many bytes the camera's latest message had; 0: there was none."""
        return self._bytes.get(camera, 0)

    def count_publishers(self) -> None:
        """Count each topic's publishers; for the node's thread, now and then: asking the graph is slow."""
        self._publishers = {
            camera: self._node.count_publishers(topic) for camera, topic in self._topics.items()
        }

    def _run(self) -> None:
        try:
            self._wait_and_take()
        except Exception as error:  # noqa: BLE001  not even the waiting could be prepared
            self._faults.survived('intake', error)
            self._faults.abandon('intake')

    def _wait_and_take(self) -> None:
        with ExitStack() as stack:
            # Holding the handles keeps a destroyed entity valid until this thread has left.
            for entity in (*self._cameras, self._wake):
                stack.enter_context(entity.handle)
            stack.enter_context(self._node.context.handle)
            wait_set = _rclpy.WaitSet(len(self._cameras), 1, 0, 0, 0, 0, self._node.context.handle)
            stack.enter_context(wait_set)
            by_pointer = {subscription.handle.pointer: subscription for subscription in self._cameras}
            self._faults.keep_running(partial(self._take_next, wait_set, by_pointer), 'intake')

    def _take_next(self, wait_set: Any, by_pointer: dict[int, Subscription]) -> bool:
        """Wait for messages and take them; returns whether more may come."""
        wait_set.clear_entities()
        for subscription in self._cameras:
            wait_set.add_subscription(subscription.handle)
        wait_set.add_guard_condition(self._wake.handle)
        wait_set.wait(-1)
        for pointer in wait_set.get_ready_entities('subscription'):
            if self._stopping.is_set():
                break
            self._take(by_pointer[pointer])
        return not self._stopping.is_set()

    def _take(self, subscription: Subscription) -> None:
        taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if taken is None:
            return
        serialised, info = taken
        camera = self._cameras[subscription]
        self._bytes[camera] = len(serialised)
        sequence = info.get('publication_sequence_number') if isinstance(info, dict) else None
        message: Any
        try:
            message = READERS[subscription.msg_type](serialised)
        except ImageError as error:
            message = Unreadable(error)
        except Exception as error:  # noqa: BLE001  the frame is counted even so
            self._faults.survived('intake', error, 'a message could not be read')
            message = Unreadable(ImageError(INTERNAL_ERROR, f'the message could not be read: {error!r}'))
        message.header = header_message(message.header)
        self._receive(camera, message, sequence, self._publishers.get(camera, 1))
