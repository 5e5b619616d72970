"""Recordings for tests, written with rosbags."""

import numpy as np
from rosbags import rosbag1, rosbag2
from rosbags.rosbag2 import CompressionFormat, StoragePlugin
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

START = 1_700_000_000_123_456_789  # ns: needs more digits than a float has
PERIOD = 50_000_000

ROS1, ROS2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_JAZZY)
IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
ROS2.register(get_types_from_msg('uint8 level', 'somebody_msgs/msg/Battery'))


def message(store, kind, index, stamp):
    """An Image whose pixels are all `index`, or a CompressedImage with these bytes."""
    types = store.types
    time = types['builtin_interfaces/msg/Time'](sec=stamp // 10**9, nanosec=stamp % 10**9)
    fields = {'stamp': time, 'frame_id': 'lens'} | ({'seq': index} if store is ROS1 else {})
    header = types['std_msgs/msg/Header'](**fields)
    if kind == 'sensor_msgs/msg/CompressedImage':
        return types[kind](header=header, format='jpg', data=np.full(9, index, np.uint8))
    if kind == 'somebody_msgs/msg/Battery':
        return types[kind](level=index)
    pixels = np.full(4 * 8, index, np.uint8)
    return types[kind](
        header=header, height=4, width=6, encoding='mono8', is_bigendian=0, step=8, data=pixels
    )


def write_bag(path, topics, *, format='mcap', compression=None):
    """A recording of {topic: (type, count)}; frames are recorded 3 ms after their stamps."""
    store = ROS1 if format == 'bag' else ROS2
    if format == 'bag':
        writer = rosbag1.Writer(path)
        if compression:
            writer.set_compression(compression)
    else:
        plugin = StoragePlugin.MCAP if format == 'mcap' else StoragePlugin.SQLITE3
        writer = rosbag2.Writer(path, version=9, storage_plugin=plugin)
        if compression:
            writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        for topic, (kind, count) in topics.items():
            connection = writer.add_connection(topic, kind, typestore=store)
            for index in range(count):
                stamp = START + index * PERIOD
                content = message(store, kind, index, stamp)
                data = (store.serialize_ros1 if format == 'bag' else store.serialize_cdr)(content, kind)
                writer.write(connection, stamp + 3_000_000, data)
    return path
