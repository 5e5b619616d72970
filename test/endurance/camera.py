"""The camera of an endurance run, a process of its own: `front` publishes raw images, `rear` compressed ones.

    python camera.py INCARNATION SEED

Commands are lines of JSON on stdin: {"mode": ..., "rate": Hz, "paused": bool, "single": bool, "number": n};
`acknowledged n` on stdout says that a command is obeyed. Every frame is a line on stdout before it is
published, so that nothing is lost with a process that is killed: camera, incarnation, number, seconds of the
steady clock, and whether the node can read its header. A frame is known again by its frame_id.
"""

from __future__ import annotations

import array
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from queue import Empty, Queue
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

import rclpy  # noqa: E402
from builtin_interfaces.msg import Time  # noqa: E402
from endurance.pictures import GOOD, Bad, bad_frames  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from rclpy.signals import SignalHandlerOptions  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from impatient_ros.ros.stop_signals import StopFlag  # noqa: E402

CAMERAS = {'front': Image, 'rear': CompressedImage}
RATE = 10.0  # Hz of each camera
YEAR = 365 * 86400


class Camera:
    """Publishes on both topics; the commands are obeyed between two rounds."""

    def __init__(self, incarnation: int, seed: int) -> None:
        self._incarnation = incarnation
        self._random = random.Random(seed)
        self._node = rclpy.create_node(f'camera_{incarnation}', enable_rosout=False)
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._publishers = {
            name: self._node.create_publisher(kind, f'/{name}/image', qos) for name, kind in CAMERAS.items()
        }
        self._numbers = dict.fromkeys(CAMERAS, 0)
        self._commands: Queue[dict[str, Any]] = Queue()
        self._mode, self._rate, self._paused = 'good', RATE, True
        self.ended = StopFlag()
        self._bad: dict[str, list[Bad]] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def run(self) -> None:
        say('ready')
        while not self.ended.is_set():
            self._obey()
            if not self._paused:
                self._round(self._mode)

    def _read(self) -> None:
        for line in sys.stdin:
            self._commands.put(json.loads(line))
        self.ended.set()  # whoever started it is gone

    def _obey(self) -> None:
        """Obey what comes until the next round is due; a process that was stopped makes up for nothing."""
        until = time.monotonic() + 1 / self._rate
        while (left := until - time.monotonic()) > 0:
            try:
                command = self._commands.get(timeout=left)
            except Empty:
                return
            self._mode = command.get('mode', self._mode)
            self._rate = command.get('rate', self._rate)
            self._paused = command.get('paused', self._paused)
            if command.get('single'):
                self._round('good')
            say(f'acknowledged {command["number"]}')

    def _round(self, mode: str) -> None:
        for name in CAMERAS:
            message, readable = self._message(name, mode)
            say(f'frame {name} {self._incarnation} {self._numbers[name]} {time.monotonic()} {int(readable)}')
            self._publishers[name].publish(message)

    def _message(self, name: str, mode: str) -> tuple[Any, bool]:
        self._numbers[name] += 1
        stamp = self._stamp() if mode == 'stamps' else divmod(time.time_ns(), 10**9)
        frame_id = f'{self._incarnation}.{self._numbers[name]}'
        if mode == 'bad':
            if name not in self._bad:
                self._bad[name] = bad_frames(CAMERAS[name], self._random)
            bad = self._random.choice(self._bad[name])
            return bad.message(Time(sec=stamp[0], nanosec=stamp[1]), frame_id), bad.readable
        fields = {
            key: array.array('B', value) if key == 'data' else value for key, value in GOOD[name].items()
        }
        message = CAMERAS[name](**fields)
        message.header.stamp, message.header.frame_id = Time(sec=stamp[0], nanosec=stamp[1]), frame_id
        return message, True

    def _stamp(self) -> tuple[int, int]:
        """A stamp as broken drivers and clocks write it."""
        now, nanosec = divmod(time.time_ns(), 10**9)
        choices = (0, now - 5 * YEAR, now + 5 * YEAR, now + 60, now - 60, -1, -(2**31), 2**31 - 1, now)
        chosen = self._random.choice(choices)
        return (0, 0) if chosen == 0 else (chosen, self._random.choice((nanosec, 0, 999_999_999)))


def say(line: str) -> None:
    """In one write, which a signal does not tear."""
    os.write(1, f'{line}\n'.encode())


def main() -> None:
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    camera = Camera(int(sys.argv[1]), int(sys.argv[2]))
    signal.signal(signal.SIGTERM, lambda *_: camera.ended.set())
    camera.run()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
