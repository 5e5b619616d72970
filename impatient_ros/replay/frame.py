"""What a source yields: frames laid out as sensor_msgs/Image and CompressedImage are, with their times."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np

__all__ = [
    'COMPRESSED',
    'RAW',
    'WHAT_TO_WRITE',
    'CompressedFrame',
    'RawFrame',
    'Source',
    'SourceError',
    'SourceFrame',
    'bgr_frame',
]

RAW, COMPRESSED = 'raw', 'compressed'

WHAT_TO_WRITE = (
    'write SOURCE= with a rosbag2 folder, a .mcap, .db3 or .bag file, a video, a picture, a folder of '
    'pictures, or the index of a webcam'
)


class SourceError(ValueError):
    """The source cannot be replayed; the message says what was wrong and what to write instead."""


@dataclass(frozen=True)
class RawFrame:
    """The fields of sensor_msgs/Image, but for the header. `data`: step * height bytes."""

    encoding: str
    height: int
    width: int
    step: int
    is_bigendian: int
    data: bytes | memoryview


@dataclass(frozen=True)
class CompressedFrame:
    """The fields of sensor_msgs/CompressedImage, but for the header."""

    format: str
    data: bytes | memoryview


@dataclass(frozen=True)
class SourceFrame:
    """One frame and its place in time.

    `time` is in seconds since the source's first frame, at the source's own rate; None from a live source,
    whose frames are due when they come. `stamp_ns` is the header's stamp and `recorded_ns` when the recorder
    got the message, both None where the source knows none. They are nanoseconds, as ROS has them: a float of
    seconds since 1970 cannot hold one exactly, and stamps are compared for equality.
    """

    image: RawFrame | CompressedFrame
    time: float | None
    stamp_ns: int | None = None
    recorded_ns: int | None = None
    frame_id: str = ''
    name: str = ''  # a picture's file name, for people
    topic: str = ''

    @property
    def stamp(self) -> float | None:
        """The header's stamp in seconds (to about 0.2 us)."""
        return None if self.stamp_ns is None else self.stamp_ns * 1e-9


class Source(ABC):
    """An opened source. `frames()` starts at the beginning each time it is called, unless it is live."""

    description: str = ''  # one line for people
    transport: str = RAW  # 'raw' or 'compressed': the kind of all its frames
    live: bool = False  # frames come from a device, now and without end
    length: int | None = None  # frames as announced by the recording; fewer can turn out to be readable
    skipped: int = 0  # files passed over because they are no pictures

    @abstractmethod
    def frames(self) -> Iterator[SourceFrame]:
        """Yield the frames in order. Raises SourceError where the source turns out to be broken."""

    def close(self) -> None:  # noqa: B027 (only devices hold something open between calls)
        """Let go of the device, if there is one."""

    def __enter__(self) -> 'Source':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def bgr_frame(picture: np.ndarray) -> RawFrame:
    """Lay an OpenCV picture, uint8 [H, W, 3], out as a bgr8 image."""
    height, width = picture.shape[:2]
    return RawFrame('bgr8', height, width, width * 3, 0, np.ascontiguousarray(picture).data.cast('B'))
