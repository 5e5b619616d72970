r"""A real bag of frame_status: the node with the model that ships, a camera, and a budget drawn per frame.

    python test/benchmark/record_bag.py quiet.mcap --frames 3000
    python test/benchmark/record_bag.py busy.mcap --frames 3000 --load
    python -m training.budgets quiet.mcap --judge busy.mcap --checkpoint models/imagenet.safetensors \
        --costs ~/.cache/impatient_ros/latency/PROFILE.json

With --load a busy process per core runs meanwhile. Needs ROS 2; it writes what `ros2 bag record` would.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from rosbags.rosbag2 import StoragePlugin, Writer  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402

from impatient_ros.demo.load import BusyProcesses  # noqa: E402
from impatient_ros.ros.environment import transport_environment  # noqa: E402
from impatient_ros.ros.executor_thread import ExecutorThread  # noqa: E402

TOPIC = '/perception/camera/frame_status'
TYPE = 'diagnostic_msgs/msg/DiagnosticArray'
PATIENCE = 180.0  # s until the node is ready: it may measure its latencies first
SETTLE = 1.0  # s for the last statuses


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('bag', type=Path, help='the folder to write, which must not exist')
    parser.add_argument('--frames', type=int, default=3000)
    parser.add_argument('--rate', type=float, default=15.0, help='frames per second (default: %(default)s)')
    parser.add_argument('--budgets', default='0.005:0.06', help='LOW:HIGH, s (default: %(default)s)')
    parser.add_argument('--load', action='store_true', help='a busy process per core')
    parser.add_argument('--seed', default='0')
    given = parser.parse_args()

    environment = {**os.environ, **transport_environment(os.environ), 'PYTHONUNBUFFERED': '1'}
    rclpy.init()
    listener = rclpy.create_node('recorder')
    kept: list[tuple[int, bytes]] = []
    arrived = threading.Event()

    def keep(message: DiagnosticArray) -> None:
        kept.append((time.time_ns(), serialize_message(message)))
        arrived.set()

    qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
    listener.create_subscription(DiagnosticArray, TOPIC, keep, qos)
    executor = ExecutorThread(listener)
    executor.start()
    ros = [sys.executable, '-m']
    parameters = ['--ros-args', '-p', 'budget.source:=topic']
    node = subprocess.Popen([*ros, 'impatient_ros.ros.perception_node', *parameters], env=environment)
    busy = BusyProcesses()
    try:
        until = time.monotonic() + PATIENCE
        while listener.count_subscribers('/camera/image_raw') == 0:
            if node.poll() is not None or time.monotonic() > until:
                raise SystemExit('the node did not get ready')
            time.sleep(0.2)
        busy.switch(given.load)
        pictures = str(ROOT / 'config/demo/pictures')
        camera = ['impatient_ros.ros.replay_camera', pictures, '--frames', str(given.frames)]
        camera += ['--rate', str(given.rate), '--deadline-topic', '/perception/deadline']
        camera += ['--budgets', given.budgets, '--seed', given.seed]
        subprocess.run([*ros, *camera], env=environment, check=True)
        time.sleep(SETTLE)
    finally:
        busy.switch(False)
        node.send_signal(signal.SIGINT)
        node.wait(60)
        executor.stop()
        listener.destroy_node()
        rclpy.try_shutdown()
    with Writer(given.bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection(TOPIC, TYPE, typestore=get_typestore(Stores.ROS2_JAZZY))
        for instant, message in kept:
            writer.write(topic, instant, message)
    print(f'{len(kept)} frames in {given.bag}; load average {os.getloadavg()[0]:.1f}')


if __name__ == '__main__':
    main()
