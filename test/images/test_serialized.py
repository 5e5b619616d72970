"""Serialised images are read in place; whatever a stranger sends is an image or an ImageError."""

import struct
from contextlib import suppress

import pytest
from counted_work import counted
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.images.errors import ImageError
from impatient_ros.images.serialized import read_compressed_image, read_image

words = st.integers(0, 2**32 - 1)
texts = st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']), max_size=9)
ORDERS = {'<': (b'\0\1\0\0', b'\0\7\0\0'), '>': (b'\0\0\0\0', b'\0\6\0\0')}


class Writer:
    """The other direction, as plain as it can be."""

    def __init__(self, order, start):
        self.order, self.start, self.body = order, start, b''

    def word(self, value, kind='I'):
        self.body += bytes(-len(self.body) % 4) + struct.pack(self.order + kind, value)
        return self

    def text(self, value):
        data = value.encode() + b'\0'
        return self.word(len(data)).raw(data)

    def raw(self, data):
        self.body += data
        return self

    @property
    def message(self):
        return self.start + self.body


def image(order, start, sec, nanosec, frame_id, height, width, encoding, big, step, data):
    writer = Writer(order, start).word(sec, 'i').word(nanosec).text(frame_id).word(height).word(width)
    return writer.text(encoding).raw(bytes([big])).word(step).word(len(data)).raw(data).message


images = st.sampled_from(['<', '>']).flatmap(
    lambda order: st.builds(
        lambda start, *fields: (fields, image(order, start, *fields)),
        st.sampled_from(ORDERS[order]),
        st.integers(-(2**31), 2**31 - 1), words, texts, words, words, texts,
        st.integers(0, 255), words, st.binary(max_size=30),
    )
)  # fmt: skip


@given(images)
def test_every_field_comes_back_in_both_byte_orders(written):
    (sec, nanosec, frame_id, height, width, encoding, big, step, data), message = written
    view = read_image(message)
    assert (view.header.sec, view.header.nanosec, view.header.frame_id) == (sec, nanosec, frame_id)
    assert (view.height, view.width, view.encoding) == (height, width, encoding)
    assert (view.is_bigendian, view.step, bytes(view.data)) == (big, step, data)


@given(images, st.data())
def test_a_message_that_ends_early_is_refused(written, draw):
    message = written[1]
    cut = draw.draw(st.integers(0, len(message) - 1))
    with pytest.raises(ImageError) as caught:
        read_image(message[:cut])
    assert caught.value.reason == 'malformed'


@given(st.binary(max_size=80))
def test_any_bytes_are_an_image_or_refused(data):
    for read in (read_image, read_compressed_image):
        with suppress(ImageError):  # any other exception fails the test
            read(data)


def test_pixels_are_not_copied():
    message = image('<', b'\0\1\0\0', 0, 0, '', 1, 4, 'mono8', 0, 4, b'abcd')
    assert read_image(message).data.obj is message


def test_another_representation_is_named():
    with pytest.raises(ImageError, match='0x0003: it is not plain CDR'):
        read_image(b'\0\3\0\0' + bytes(60))


def test_a_frame_id_without_end_is_refused_before_it_is_copied():
    """It would be sent on with every answer."""
    message = image('<', b'\0\1\0\0', 0, 0, 'x' * 1023, 1, 4, 'mono8', 0, 4, b'abcd')
    assert read_image(message).header.frame_id == 'x' * 1023
    message = image('<', b'\0\1\0\0', 0, 0, 'x' * 10_000_000, 1, 4, 'mono8', 0, 4, b'abcd')
    with (
        counted() as work,
        pytest.raises(ImageError, match='frame_id takes 10000001 bytes, the limit is 1024'),
    ):
        read_image(message)
    assert work.peak_bytes < 100_000


def test_of_an_encoding_without_end_only_the_start_is_read():
    """So that its frame is dropped for its encoding, with its own stamp."""
    message = image('<', b'\0\1\0\0', 7, 8, 'camera', 1, 4, 'y' * 10_000_000, 0, 4, b'abcd')
    with counted() as work:
        view = read_image(message)
    assert (view.header.sec, view.encoding, bytes(view.data)) == (7, 'y' * 1024, b'abcd')
    assert work.peak_bytes < 100_000
