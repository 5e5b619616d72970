"""The .bag files of ROS 1, read with `rosbags`."""

from __future__ import annotations

from bz2 import BZ2Decompressor
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lz4.frame import LZ4FrameDecompressor
from rosbags.rosbag1 import Reader
from rosbags.rosbag1.reader import decompressors

from impatient_ros.replay.recording import LARGEST_CHUNK, Channel, RecordingFile

__all__ = ['Ros1File']


class Ros1File(RecordingFile):
    """Read by its index; one without is refused. Chunks are decompressed into bounded memory."""

    repair = '`rosbag reindex {}` repairs a recording that was cut off'

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)
        self._reader.open()
        # Those of `rosbags` decompress whatever there is.
        self._reader.chunks = {
            offset: chunk._replace(decompressor=BOUNDED.get(chunk.decompressor, chunk.decompressor))
            for offset, chunk in self._reader.chunks.items()
        }
        self.channels = [
            Channel(each.topic, each.msgtype, each.msgcount) for each in self._reader.connections
        ]

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def messages(self, topic: str, kind: str) -> Iterator[tuple[int, bytes]]:
        wanted = [each for each in self._reader.connections if (each.topic, each.msgtype) == (topic, kind)]
        for _, recorded_ns, data in self._reader.messages(wanted) if wanted else ():
            yield recorded_ns, data


def _bounded(make: Callable[[], Any]) -> Callable[[bytes], bytes]:
    """Decompresses a chunk. Raises ValueError."""

    def decompress(packed: bytes) -> bytes:
        decompressor = make()
        data: bytes = decompressor.decompress(packed, max_length=LARGEST_CHUNK)
        if not decompressor.eof:
            raise ValueError(f'a chunk is cut off, or larger than {LARGEST_CHUNK} bytes')
        return data

    return decompress


BOUNDED = {
    decompressors['bz2']: _bounded(BZ2Decompressor),
    decompressors['lz4']: _bounded(LZ4FrameDecompressor),
}
