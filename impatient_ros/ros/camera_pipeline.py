"""What serves the cameras while the node is active: subscriptions, the engine, publishers."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.perception.faults import Faults
from impatient_ros.perception.monitor import Monitor
from impatient_ros.perception.worker import Perception
from impatient_ros.ros.cv_bridge_converter import cv_bridge_converter
from impatient_ros.ros.image_intake import ImageIntake
from impatient_ros.ros.messages import nanoseconds
from impatient_ros.ros.outputs import NodeOutputs
from impatient_ros.ros.parameters import NodeParameters

__all__ = ['CameraPipeline']

WARNING_PERIOD = 5.0  # seconds between two log lines about unusable frames; all are counted
# A best-effort subscription meets every publisher.
DEADLINE_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


class CameraPipeline:
    """Starts with its construction and ends with `stop`; both on the thread of the lifecycle's steps.

    Attributes:
        perception: the engine.
        intake: the thread that takes images.
    """

    def __init__(
        self,
        node: Node,
        classifier: AnytimeClassifier,
        parameters: NodeParameters,
        monitor: Monitor,
        faults: Faults,
    ) -> None:
        self._node = node
        cameras = parameters.current.cameras
        names = tuple(camera.name for camera in cameras)
        # What was started is stopped in the opposite order: nothing is handed to a part that has ended, and
        # every frame has its record. So it is, too, where one of the parts cannot start.
        with ExitStack() as started:
            outputs = NodeOutputs(node, classifier.labels, names, monitor)
            started.callback(outputs.destroy)
            self.perception = Perception(
                classifier,
                lambda: parameters.current,
                outputs,
                lambda: node.get_clock().now().nanoseconds,
                faults=faults,
                warn=self._warn,
                converter=cv_bridge_converter(),
            )
            started.callback(self.perception.stop)
            self.perception.start()
            for camera in (None, *names):
                topic = '~/deadline' if camera is None else f'~/{camera}/deadline'
                announce = partial(self._announce, camera)
                subscription = node.create_subscription(Header, topic, announce, DEADLINE_QOS)
                started.callback(node.destroy_subscription, subscription)
            self.intake = ImageIntake(node, self.perception.receive, faults)
            started.callback(self.intake.stop)
            for each in cameras:
                self.intake.subscribe(each.name, each.transport, each.topic)
            self.intake.start()
            self._started = started.pop_all()

    def stop(self) -> None:
        """End the threads, then the subscriptions and publishers."""
        self._started.close()

    def _announce(self, camera: str | None, header: Header) -> None:
        self.perception.announce(nanoseconds(header.stamp), camera)

    def _warn(self, camera: str, text: str) -> None:
        self._node.get_logger().warning(f'{camera}: {text}', throttle_duration_sec=WARNING_PERIOD)
