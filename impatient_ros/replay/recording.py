"""What a recording's files have in common, whichever format they are in."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from impatient_ros.replay.recording_names import MAGIC_ZSTD

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ['LARGEST_CHUNK', 'LARGEST_MESSAGE', 'Channel', 'RecordingFile', 'unpacked']

# Bytes; 64 million pixels of three bytes, which is what a picture may have at most, are 192 MB.
LARGEST_MESSAGE = 1 << 28
LARGEST_CHUNK = 2 * LARGEST_MESSAGE  # bytes of the messages that are stored together, decompressed


@dataclass(frozen=True)
class Channel:
    """A topic in one file: its type as 'sensor_msgs/msg/Image', and how many messages it announces."""

    topic: str
    kind: str
    count: int


class RecordingFile(AbstractContextManager['RecordingFile'], ABC):
    """One open file of a recording. Damage raises whatever the format's reader raises.

    Attributes:
        channels: what is in it; a topic may come several times.
        cut_off: what is missing at its end, for people; '' if nothing is.
        repair: what to write where a file of this format is damaged; {} stands for the file.
    """

    channels: Sequence[Channel]
    cut_off: str = ''
    repair: str

    @abstractmethod
    def __init__(self, path: Path) -> None:
        """Open the file."""

    @abstractmethod
    def messages(self, topic: str, kind: str) -> Iterator[tuple[int, bytes]]:
        """When each message was recorded (ns), in that order, and the message as ROS serialises it."""


def unpacked(message: bytes) -> bytes:
    """A message of ROS 2, decompressed if it is compressed. Raises ValueError, zstd.ZstdError."""
    if message[:4] != MAGIC_ZSTD:  # which no message of ROS 2 begins with
        return message
    packed = zstd.ZstdDecompressor()
    message = packed.decompress(message, max_length=LARGEST_MESSAGE)
    if not packed.eof:
        raise ValueError(f'a compressed message is cut off, or larger than {LARGEST_MESSAGE} bytes')
    return message
