"""The .bag files of ROS 1, read with `rosbags`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rosbags.rosbag1 import Reader

from impatient_ros.replay.recording import Channel, RecordingFile

__all__ = ['Ros1File']


class Ros1File(RecordingFile):
    """Read by its index; one without is refused."""

    repair = '`rosbag reindex {}` repairs a recording that was cut off'

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)
        self._reader.open()
        self.channels = [
            Channel(each.topic, each.msgtype, each.msgcount) for each in self._reader.connections
        ]

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def messages(self, topic: str, kind: str) -> Iterator[tuple[int, bytes]]:
        wanted = [each for each in self._reader.connections if (each.topic, each.msgtype) == (topic, kind)]
        for _, recorded_ns, data in self._reader.messages(wanted) if wanted else ():
            yield recorded_ns, data
