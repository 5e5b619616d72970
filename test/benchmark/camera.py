"""The other side of the node: publishes images at a rate and notes when their answers come.

    python camera.py '{"images": [["vga", 640, 480, "raw"]], "frames": 300, "rate": 30.0}'

Needs ROS 2. Prints a line of JSON per image kind: seconds from just before an image is published to the
instant at which its answer was published (the answer's source timestamp) and to the answer's arrival here,
exits, and how many frames the node never saw. With "relay" raw images go to `relay.py` as well, in turns with
the node, a line of its own each. Runs in a process of its own, as a camera driver does.
"""

from __future__ import annotations

import array
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

import cv2  # noqa: E402
import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from rclpy.time import Time  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from vision_msgs.msg import Classification  # noqa: E402

from impatient_ros.resources import resource_path  # noqa: E402
from impatient_ros.ros.executor_thread import ExecutorThread  # noqa: E402
from impatient_ros.ros.messages import nanoseconds, parse_frame_status  # noqa: E402

PATIENCE = 120.0  # seconds until the node must be there
SETTLE = 1.0  # seconds for the last answers
RECEIVERS = ('perception', 'relay')
TURNS = 6  # of each receiver, so that both have the same of what else the machine does
SEGMENT = 64 * 2**20  # bytes of shared memory; until each was used once, pages are new on both sides


class Camera:
    """Publishes one kind of image and notes when each was sent and answered."""

    def __init__(
        self, node: Any, name: str, width: int, height: int, transport: str, to: str = 'perception'
    ) -> None:
        self.camera = f'camera_{name}_{transport}'
        self.to = to
        self._node = node
        topic = f'/{self.camera}/image' if to == 'perception' else f'/{to}/{self.camera}/image'
        self._message = message(width, height, transport)
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._publisher = node.create_publisher(type(self._message), topic, qos)
        # Nanoseconds of the system's clock, which the middleware's timestamps use, by the images' stamps.
        self.sent: dict[int, int] = {}
        self.answered: dict[int, int] = {}
        self.arrived: dict[int, int] = {}
        self.exits: dict[int, int] = {}
        self.seen: set[int] = set()
        deep = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
        node.create_subscription(Classification, f'/{to}/{self.camera}/classification', self._on_answer, deep)
        node.create_subscription(DiagnosticArray, f'/{to}/{self.camera}/frame_status', self._on_status, deep)

    def frames_in(self, size: int) -> int:
        """How many messages fill a shared-memory segment."""
        return size // len(self._message.data) if isinstance(self._message, Image) else 0

    def wait_for_node(self) -> None:
        until = time.monotonic() + PATIENCE
        while not self.seen:
            if time.monotonic() > until:
                raise RuntimeError(f'{self.to} answered nothing on {self.camera}')
            if self._publisher.get_subscription_count():
                self._send()
            time.sleep(0.2)

    def run(self, frames: int, rate: float, each: Any = None) -> dict[str, Any]:
        for noted in (self.sent, self.answered, self.arrived, self.exits):
            noted.clear()
        self.seen.clear()
        start = time.monotonic()
        for index in range(frames):
            wait = start + index / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self._send()
            if each is not None:
                each(index)
        time.sleep(SETTLE)
        known = [stamp for stamp in self.sent if stamp in self.answered and stamp in self.exits]
        return {
            'camera': self.camera,
            'to': self.to,
            'published': [(self.answered[stamp] - self.sent[stamp]) * 1e-9 for stamp in known],
            'received': [(self.arrived[stamp] - self.sent[stamp]) * 1e-9 for stamp in known],
            'exits': [self.exits[stamp] for stamp in known],
            'frames': frames,
            'not_received': sum(stamp not in self.seen for stamp in self.sent),
        }

    def _send(self) -> None:
        stamp = self._node.get_clock().now().nanoseconds
        self._message.header.stamp = Time(nanoseconds=stamp).to_msg()
        self.sent[stamp] = time.time_ns()
        self._publisher.publish(self._message)

    def _on_answer(self, message: Classification, info: dict[str, int]) -> None:
        stamp = nanoseconds(message.header.stamp)
        self.arrived.setdefault(stamp, time.time_ns())
        self.answered.setdefault(stamp, info['source_timestamp'])
        if self.to != 'perception':  # which says nothing but its answer
            self.exits[stamp] = -1
            self.seen.add(stamp)

    def _on_status(self, message: DiagnosticArray) -> None:
        stamp = nanoseconds(message.header.stamp)
        exit_index = parse_frame_status(message).exit_index
        if exit_index is not None:
            self.exits[stamp] = exit_index
        self.seen.add(stamp)


def message(width: int, height: int, transport: str) -> Any:
    """One of the demo's pictures at that size."""
    picture = cv2.resize(
        cv2.imread(str(resource_path('config', 'demo/clothing/01-hat.jpg'))), (width, height)
    )
    if transport == 'compressed':
        data = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        return CompressedImage(format='jpeg', data=array.array('B', data))
    data = picture.tobytes()
    return Image(width=width, height=height, encoding='bgr8', step=3 * width, data=array.array('B', data))


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several runs of one camera as one."""
    summed = {
        key: [each for part in parts for each in part[key]] for key in ('published', 'received', 'exits')
    }
    counts = {key: sum(part[key] for part in parts) for key in ('frames', 'not_received')}
    return {**{key: parts[0][key] for key in ('camera', 'to')}, **summed, **counts}


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * 4096


def main() -> None:
    options = json.loads(sys.argv[1])
    rclpy.init()
    node = rclpy.create_node('benchmark_camera')
    pairs = [
        [Camera(node, *kind, to) for to in RECEIVERS[: 1 + bool(options.get('relay') and kind[-1] == 'raw')]]
        for kind in options['images']
    ]
    executor = ExecutorThread(node)
    executor.start()
    memory: dict[int, int] = {}

    def watch(index: int) -> None:
        if index % 500 == 499:
            memory[index + 1] = resident(options['pid'])

    for pair in pairs:
        for camera in pair:
            camera.wait_for_node()
            camera.run(10 if options['frames'] < 100 else 10 + camera.frames_in(SEGMENT), 30.0)
        turns = 1 if len(pair) == 1 else TURNS
        found = [
            [camera.run(options['frames'] // turns, options['rate'], watch if options.get('pid') else None)
             for camera in pair]
            for _ in range(turns)
        ]  # fmt: skip
        for parts in zip(*found, strict=True):
            print(json.dumps({**joined(parts), 'memory': memory}), flush=True)
    executor.stop()
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
