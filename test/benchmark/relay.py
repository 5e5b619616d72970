"""A bare relay: takes images and publishes a small message for each, and does nothing else.

    python relay.py '["camera_vga_raw"]'

What `rclpy` itself takes from an image to an answer, to compare the node's overhead with. Needs ROS 2.
"""

import json
import sys

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from vision_msgs.msg import Classification


def relay(node: Node, camera: str) -> None:
    """Subscribe to the camera as the perception node does, in the way that rclpy's tutorials show."""
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    answers = node.create_publisher(Classification, f'/relay/{camera}/classification', 10)
    node.create_subscription(
        Image,
        f'/relay/{camera}/image',
        lambda image: answers.publish(Classification(header=image.header)),
        qos,
    )


def main() -> None:
    rclpy.init()
    node = rclpy.create_node('relay')
    for camera in json.loads(sys.argv[1]):
        relay(node, camera)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        pass


if __name__ == '__main__':
    main()
