"""Image topics of rosbag2 recordings (folder, .mcap, .db3) and rosbag1 files (.bag), read with `rosbags`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from impatient_ros.replay.frame import (
    COMPRESSED,
    RAW,
    CompressedFrame,
    RawFrame,
    Source,
    SourceError,
    SourceFrame,
)

__all__ = ['Bag', 'ImageTopic']

TRANSPORTS = {'sensor_msgs/msg/Image': RAW, 'sensor_msgs/msg/CompressedImage': COMPRESSED}

REPAIRS = {
    '.bag': '`rosbag reindex` repairs a recording that was cut off',
    '.mcap': '`mcap recover` repairs a recording that was cut off',
    '.db3': 'name the folder that it lies in, or repair that with `ros2 bag reindex`',
    '': '`ros2 bag reindex` repairs a recording that was cut off',
}


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
        with _opened(path) as (reader, _), _reading(path):
            topics = _image_topics(reader)
        chosen = _choose(topics, topic, path)
        self.topic = chosen.name
        self.transport = chosen.transport
        self.length = chosen.count
        self.description = f'bag {path}, topic ' + ' '.join(str(chosen).split())

    def frames(self) -> Iterator[SourceFrame]:
        """Raises SourceError where the recording turns out to be damaged, saying how far it got."""
        with _opened(self.path) as (reader, deserialize):
            connections = [x for x in reader.connections if x.topic == self.topic and x.msgtype in TRANSPORTS]
            messages = iter(reader.messages(connections=connections))
            count, first_ns = 0, 0
            while True:
                with _reading(self.path, f' after {count} of {self.length} frames'):
                    item = next(messages, None)
                    if item is None:
                        return
                    connection, recorded_ns, data = item
                    message = deserialize(data, connection.msgtype)
                    image = _image(message)
                    stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
                first_ns = recorded_ns if count == 0 else first_ns
                count += 1
                yield SourceFrame(
                    image,
                    (recorded_ns - first_ns) * 1e-9,
                    stamp_ns=stamp_ns,
                    recorded_ns=recorded_ns,
                    frame_id=message.header.frame_id,
                    topic=self.topic,
                )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Callable[[bytes, str], Any]]]:
    """rosbags' reader and what turns its bytes into messages.

    Not rosbags' AnyReader: that parses the definitions of every type in the recording and gives up at the
    first that it cannot, though the two image types have been the same in every distribution.
    """
    try:
        from rosbags import rosbag1, rosbag2
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:  # rosdep has no key for it, and one of its own packages may be broken
        raise SourceError(
            f'{path}: bags need the package rosbags, which cannot be imported ({error}): pip install rosbags'
        ) from error
    with ExitStack() as stack:
        with _reading(path):
            if path.suffix == '.bag':
                reader: Any = stack.enter_context(rosbag1.Reader(path))
                deserialize: Any = get_typestore(Stores.ROS1_NOETIC).deserialize_ros1
            else:
                reader = stack.enter_context(rosbag2.Reader(path))
                deserialize = get_typestore(Stores.ROS2_JAZZY).deserialize_cdr
        yield reader, deserialize


@contextmanager
def _reading(path: Path, where: str = '') -> Iterator[None]:
    """Turn whatever a damaged recording raises into a SourceError."""
    try:
        yield
    except Exception as error:  # damage shows as struct, zstd, lz4, sqlite, assertion, key and other errors
        what = str(error) or type(error).__name__
        repair = REPAIRS.get(path.suffix, REPAIRS[''])
        raise SourceError(f'{path} cannot be read as a bag{where}: {what.rstrip(".")}; {repair}') from error


def _image_topics(reader: Any) -> list[ImageTopic]:
    counts: dict[tuple[str, str], int] = {}
    for connection in reader.connections:
        if transport := TRANSPORTS.get(connection.msgtype):
            key = (connection.topic, transport)
            counts[key] = counts.get(key, 0) + connection.msgcount
    return [ImageTopic(name, transport, count) for (name, transport), count in sorted(counts.items())]


def _choose(topics: list[ImageTopic], wanted: str | None, path: Path) -> ImageTopic:
    filled = [topic for topic in topics if topic.count]
    if not filled:
        empty = f' (there is {topics[0].name}, with no message in it)' if topics else ''
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
