"""Image topics of rosbag2 recordings (folder, .mcap, .db3) and rosbag1 files (.bag)."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impatient_ros.replay.frame import (
    COMPRESSED,
    RAW,
    CompressedFrame,
    RawFrame,
    Source,
    SourceError,
    SourceFrame,
)

if TYPE_CHECKING:
    from impatient_ros.replay.opened_recording import OpenedRecording

__all__ = ['Bag', 'ImageTopic']

TRANSPORTS = {'sensor_msgs/msg/Image': RAW, 'sensor_msgs/msg/CompressedImage': COMPRESSED}
# Types of image_transport's and Foxglove's plugins whose messages are no pictures by themselves.
VIDEO_TYPES = (
    'ffmpeg_image_transport_msgs/msg/FFMPEGPacket',
    'foxglove_msgs/msg/CompressedVideo',
    'theora_image_transport/msg/Packet',
)
LONGEST_PAUSE = 600.0  # s; longer, and the recorder's clock was set rather than the camera silent
LATEST_NS = (1 << 31) * 1_000_000_000  # what a time of ROS 2 can say

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageTopic:
    """A topic that carries images: how many, and of which kind ('raw' or 'compressed')."""

    name: str
    transport: str
    count: int

    def __str__(self) -> str:
        kind = 'sensor_msgs/Image' if self.transport == RAW else 'sensor_msgs/CompressedImage'
        return f'{self.name}  ({kind}, {self.count} frame{"" if self.count == 1 else "s"})'


class Bag(Source):
    """One image topic of a recording, paced by the times at which it was recorded.

    `topic` may be left out where only one topic has images; a leading slash may be missing.
    Raises SourceError if the recording cannot be read, holds no images, or leaves open which topic is meant.
    """

    def __init__(self, path: Path, topic: str | None = None) -> None:
        self.path = path
        self._said: set[str] = set()
        with _opened(path) as recording:
            for remark in recording.remarks:
                self._say(remark)
            chosen = _choose(recording, topic, path)
            # Made here, since it takes a quarter of a second, and frames are due once they are asked for.
            self._deserialize = _deserializer(recording.ros1)
        self.topic = chosen.name
        self.transport = chosen.transport
        self.length = chosen.count
        self.description = f'bag {path}, topic ' + ' '.join(str(chosen).split())
        self._kind = next(kind for kind, transport in TRANSPORTS.items() if transport == self.transport)

    def frames(self) -> Iterator[SourceFrame]:
        """Raises SourceError where the recording turns out to be damaged, saying how far it got.

        Where fewer or more frames come than are announced, that is logged. Where the recorder's clock was
        set, back or by more than `LONGEST_PAUSE`, the replay goes on at once.
        """
        with _opened(self.path) as recording:
            count, before_ns, time_ns = 0, 0, 0
            messages = recording.messages(self.topic, self._kind)
            while True:
                try:
                    item = next(messages, None)
                    if item is None:
                        break
                    recorded_ns, data = item
                    frame = _frame(self._deserialize(data, self._kind), recorded_ns, self.topic)
                except Exception as error:  # damaged messages raise struct, value, index and other errors
                    what = str(error) if isinstance(error, SourceError) else f'{self.path}: {error!r}'
                    raise SourceError(f'{what} (after {count} of {self.length} frames)') from error
                step_ns = recorded_ns - before_ns if count else 0
                if not 0 <= step_ns <= LONGEST_PAUSE * 1e9:
                    self._say(
                        f"{self.path}: the recorder's clock jumps by {step_ns * 1e-9:.1f} s after frame "
                        f'{count}: the replay goes on at once'
                    )
                    step_ns = 0
                count, before_ns, time_ns = count + 1, recorded_ns, time_ns + step_ns
                yield replace(frame, time=time_ns * 1e-9)
        if count != self.length:
            self._say(f'{self.path}: {count} frames were read, {self.length} are announced')

    def _say(self, what: str) -> None:
        """Once, however often the recording is read."""
        if what not in self._said:
            self._said.add(what)
            logger.warning('%s', what)


def _opened(path: Path) -> 'OpenedRecording':
    """Not by rosbags' own readers for ROS 2: they give up where they cannot parse the definition of any type,
    and read nothing where the metadata describes a topic in another way than the storage.
    """
    try:
        from rosbags import typesys  # noqa: F401

        from impatient_ros.replay.opened_recording import OpenedRecording
    except ImportError as error:  # rosdep has no key for it, and one of its own packages may be broken
        raise SourceError(
            f'{path}: bags need the package rosbags, which cannot be imported ({error}): pip install rosbags'
        ) from error
    return OpenedRecording(path)


def _deserializer(ros1: bool) -> Callable[[bytes, str], Any]:
    from rosbags.typesys import Stores, get_typestore

    if ros1:
        return get_typestore(Stores.ROS1_NOETIC).deserialize_ros1
    # The two image types have been the same in every distribution.
    return get_typestore(Stores.ROS2_JAZZY).deserialize_cdr


def _frame(message: Any, recorded_ns: int, topic: str) -> SourceFrame:
    if not 0 <= recorded_ns < LATEST_NS:
        raise ValueError(f'recorded at {recorded_ns} ns, which is no time of ROS 2')
    stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
    return SourceFrame(
        _image(message),
        None,
        stamp_ns=stamp_ns if stamp_ns >= 0 else None,
        recorded_ns=recorded_ns,
        frame_id=message.header.frame_id,
        topic=topic,
    )


def _choose(recording: 'OpenedRecording', wanted: str | None, path: Path) -> ImageTopic:
    topics = [
        ImageTopic(each.topic, TRANSPORTS[each.kind], each.count)
        for each in recording.channels
        if each.kind in TRANSPORTS
    ]
    filled = [topic for topic in topics if topic.count]
    if not filled:
        empty = f' (there is {topics[0].name}, with no message in it)' if topics else ''
        videos = [each for each in recording.channels if each.kind in VIDEO_TYPES]
        if videos:
            empty = (
                f'; {videos[0].topic} is a video ({videos[0].kind}): play it, record what '
                '`ros2 run image_transport republish` makes of it, and replay that'
            )
        raise SourceError(f'{path} holds no sensor_msgs/Image and no CompressedImage messages{empty}')
    listing = '\n'.join(f'  {topic}' for topic in filled)
    if wanted is None:
        if len(filled) > 1:
            raise SourceError(
                f'{path} holds {len(filled)} image topics; say which with TOPIC=<name>:\n{listing}'
            )
        return filled[0]
    for topic in filled:
        if topic.name.lstrip('/') == wanted.lstrip('/'):
            return topic
    raise SourceError(f'{path} holds no images on topic {wanted!r}; write TOPIC= with one of\n{listing}')


def _image(message: Any) -> RawFrame | CompressedFrame:
    data = memoryview(message.data).cast('B')
    if message.__msgtype__ == 'sensor_msgs/msg/CompressedImage':
        return CompressedFrame(message.format, data)
    return RawFrame(
        message.encoding, message.height, message.width, message.step, int(message.is_bigendian), data
    )
