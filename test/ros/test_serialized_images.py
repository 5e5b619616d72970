"""What rclpy serialises is read back in place."""

import array

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from impatient_ros.images.serialized import read_compressed_image, read_image
from impatient_ros.ros.messages import header_message

words = st.integers(0, 2**32 - 1)
texts = st.text(st.characters(min_codepoint=1, max_codepoint=0xFFFF, exclude_categories=['Cs']), max_size=12)
datas = st.binary(max_size=40)


def stamped(message, sec, nanosec, frame_id):
    message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
    message.header.frame_id = frame_id
    return message


stamps = (st.integers(-(2**31), 2**31 - 1), st.integers(0, 999_999_999), texts)


@given(*stamps, words, words, texts, st.integers(0, 255), words, datas)
def test_images(sec, nanosec, frame_id, height, width, encoding, big, step, data):
    message = Image(height=height, width=width, encoding=encoding, is_bigendian=big, step=step)
    message.data = array.array('B', data)
    view = read_image(serialize_message(stamped(message, sec, nanosec, frame_id)))
    assert header_message(view.header) == message.header
    for field in ('height', 'width', 'encoding', 'is_bigendian', 'step'):
        assert getattr(view, field) == getattr(message, field)
    assert bytes(view.data) == data


@given(*stamps, texts, datas)
def test_compressed_images(sec, nanosec, frame_id, kind, data):
    message = CompressedImage(format=kind, data=array.array('B', data))
    view = read_compressed_image(serialize_message(stamped(message, sec, nanosec, frame_id)))
    assert header_message(view.header) == message.header
    assert (view.format, bytes(view.data)) == (kind, data)
