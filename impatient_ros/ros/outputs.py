"""What the node publishes for its cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from vision_msgs.msg import Classification, LabelInfo

from impatient_ros.answer import Answer
from impatient_ros.perception.annotation import annotate
from impatient_ros.perception.frame_record import FrameRecord
from impatient_ros.perception.latest_frames import Frame
from impatient_ros.perception.monitor import Monitor
from impatient_ros.perception.sending import UNKNOWN, said
from impatient_ros.ros.messages import classification, frame_status, image_message, label_info

__all__ = ['OUTPUT_QOS', 'NodeOutputs']

# Reliable, since a best-effort publisher never reaches a reliable subscriber.
OUTPUT_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
# A message that gets lost on the way is sent again after Fast DDS' heartbeat, up to 3 s later. An answer is
# useless by then, but a status is the only record of its frame: kept for 3 s of frames at 30 Hz.
STATUS_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


@dataclass(frozen=True)
class _Camera:
    classification: Publisher
    label_info: Publisher
    frame_status: Publisher
    annotated: Publisher

    def all(self) -> tuple[Publisher, ...]:
        return self.classification, self.label_info, self.frame_status, self.annotated


class NodeOutputs:
    """The publishers of each camera, and the monitor that counts what went out. Thread-safe.

    The labels are published at once, latched.
    """

    def __init__(
        self,
        node: Node,
        labels: tuple[str, ...],
        cameras: tuple[str, ...],
        monitor: Monitor,
    ) -> None:
        self._node = node
        self._labels = labels
        self._monitor = monitor
        self._cameras = {
            name: _Camera(
                node.create_publisher(Classification, f'~/{name}/classification', OUTPUT_QOS),
                node.create_publisher(LabelInfo, f'~/{name}/label_info', LATCHED_QOS),
                node.create_publisher(DiagnosticArray, f'~/{name}/frame_status', STATUS_QOS),
                node.create_publisher(Image, f'~/{name}/annotated', OUTPUT_QOS),
            )
            for name in cameras
        }
        info = label_info(labels, node.get_clock().now().to_msg())
        for camera in self._cameras.values():
            camera.label_info.publish(info)

    def answer(self, frame: Frame, answer: Answer | None, top_k: int) -> None:
        """Publish an answer's best classes, that it is unknown, or a classification without results."""
        labels, scores = self._labels, np.empty(0) if answer is None else answer.probabilities
        if answer is not None and answer.unknown:
            labels, scores = (UNKNOWN,), np.array([said(answer)[1]])
        message = classification(frame.message.header, labels, scores, top_k)
        self._cameras[frame.camera].classification.publish(message)

    def record(self, frame: Frame, record: FrameRecord) -> None:
        """Count how a frame ended and publish it as frame_status."""
        self._monitor.record(record)
        publisher = self._cameras[frame.camera].frame_status
        if publisher.get_subscription_count():
            name = self._node.get_fully_qualified_name()
            publisher.publish(frame_status(frame.message.header, record, name))

    def not_received(self, camera: str, count: int) -> None:
        """Count frames that were published and never arrived."""
        self._monitor.not_received(camera, count)

    def wants_picture(self, camera: str) -> bool:
        """Whether somebody subscribes to the annotated picture."""
        return self._cameras[camera].annotated.get_subscription_count() > 0

    def picture(self, frame: Frame, rgb: np.ndarray, record: FrameRecord) -> None:
        """Publish the picture with its answer drawn on it."""
        drawn = annotate(rgb, record)
        self._cameras[frame.camera].annotated.publish(image_message(drawn, frame.message.header))

    def destroy(self) -> None:
        """Destroy the publishers; nothing may be published afterwards."""
        for camera in self._cameras.values():
            for publisher in camera.all():
                self._node.destroy_publisher(publisher)
        self._cameras.clear()
