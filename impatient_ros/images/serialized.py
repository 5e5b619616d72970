"""sensor_msgs Image and CompressedImage read in place: serialised bytes -> fields, no pixel is copied.

    image = read_image(taken)               # bytes as the middleware delivered them
    image.header.frame_id, image.encoding, image.data

A middleware that deserialises an image copies its pixels twice more than whoever only looks at them. The
layout is CDR's (OMG DDS-XTypes 7.4.3): a header of four bytes that says the byte order, then the fields one
after the other, each aligned to its size. What these two messages hold is aligned alike in both versions of
CDR.

What arrives is not trusted: whatever does not fit together raises `ImageError` with the reason `malformed`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from impatient_ros.images.errors import ImageError

__all__ = ['CompressedView', 'HeaderView', 'ImageView', 'Unreadable', 'read_compressed_image', 'read_image']

MAX_TEXT = 1024
"""Bytes of a frame_id, which is sent on with every answer, and what is read of an encoding or format."""

_ENCAPSULATION = 4  # bytes before the first field; alignment counts from behind them
# By the second byte of the encapsulation: plain CDR of version 1 and 2, big and little endian.
_ORDERS = {0x00: '>', 0x01: '<', 0x06: '>', 0x07: '<'}


@dataclass(frozen=True)
class HeaderView:
    """The fields of a std_msgs/Header; the stamp in seconds and nanoseconds."""

    sec: int
    nanosec: int
    frame_id: str


@dataclass
class ImageView:
    """The fields of a sensor_msgs/Image; `data` lies in the serialised message and keeps it alive.

    `header` is a `HeaderView`, in whose place a ROS message may be put.
    """

    header: Any
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


@dataclass
class CompressedView:
    """The fields of a sensor_msgs/CompressedImage; `data` and `header` as in `ImageView`."""

    header: Any
    format: str
    data: memoryview


@dataclass
class Unreadable:
    """Stands for a message that cannot be read; `error` says why, and the header is empty."""

    error: ImageError
    header: Any = HeaderView(0, 0, '')


def read_image(message: bytes) -> ImageView:
    """A view on a serialised sensor_msgs/Image. Raises ImageError."""
    reader = _Reader(message)
    header = reader.header()
    height, width = reader.number(), reader.number()
    encoding, is_bigendian, step = reader.text(), reader.byte(), reader.number()
    return ImageView(header, height, width, encoding, is_bigendian, step, reader.octets())


def read_compressed_image(message: bytes) -> CompressedView:
    """A view on a serialised sensor_msgs/CompressedImage. Raises ImageError."""
    reader = _Reader(message)
    return CompressedView(reader.header(), reader.text(), reader.octets())


class _Reader:
    """Reads one field after the other."""

    def __init__(self, message: bytes) -> None:
        self._message = memoryview(message)
        order = _ORDERS.get(message[1]) if len(message) >= _ENCAPSULATION and message[0] == 0 else None
        if order is None:
            start = bytes(message[:2]).hex()
            raise ImageError('malformed', f'the message starts with 0x{start}: it is not plain CDR')
        self._unsigned = struct.Struct(f'{order}I')
        self._signed = struct.Struct(f'{order}i')
        self._at = _ENCAPSULATION

    def number(self) -> int:
        return self._word(self._unsigned)

    def byte(self) -> int:
        return self._take(1)[0]

    def text(self) -> str:
        """Of a longer text only the first MAX_TEXT bytes: nothing of that length names an encoding."""
        taken = self._take(self.number())[:MAX_TEXT]
        # The terminating zero counts as a part of it; some implementations leave an empty text's out.
        content = bytes(taken[:-1] if len(taken) and taken[-1] == 0 else taken)
        return content.decode('utf-8', 'replace')

    def octets(self) -> memoryview:
        return self._take(self.number())

    def header(self) -> HeaderView:
        sec, nanosec, start = self._word(self._signed), self.number(), self._at
        length = self.number()
        if length > MAX_TEXT:
            raise ImageError('malformed', f'frame_id takes {length} bytes, the limit is {MAX_TEXT}')
        self._at = start
        return HeaderView(sec, nanosec, self.text())

    def _word(self, kind: struct.Struct) -> int:
        self._at += -self._at % 4
        return kind.unpack(self._take(4))[0]

    def _take(self, count: int) -> memoryview:
        end = self._at + count
        if end > len(self._message):
            raise ImageError(
                'malformed', f'the message ends after {len(self._message)} bytes, {end} are announced'
            )
        taken = self._message[self._at : end]
        self._at = end
        return taken
