"""Files on the disk: what is no picture, or announces too much of one, is refused before it is decoded."""

import io
import os
import struct

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.images.compressed import decode_file
from impatient_ros.images.errors import ImageError
from impatient_ros.images.picture_files import MAX_FILE, check_announced_size, read_picture_file

LARGE = 70_000


def encoded(suffix, picture):
    if suffix != '.gif':  # OpenCV 4.9 writes none
        options = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == '.webp' else []
        return bytes(cv2.imencode(suffix, picture[:, :, 0] if suffix == '.pgm' else picture, options)[1])
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, 'gif')
    return file.getvalue()


# Where each format says its width and height, both 2 or 4 bytes.
PLACES = {
    '.bmp': lambda data: struct.pack_into('<ii', data, 18, LARGE, -LARGE),
    '.gif': lambda data: struct.pack_into('<HH', data, 6, 65_000, 65_000),
    '.webp': lambda data: struct.pack_into('<I', data, 21, 0x0FFFFFFF),  # lossless: 14 bits each
    '.pgm': lambda data: data.__setitem__(slice(0, 8), b'P5\n70000 70000\n255\n'),
    '.tiff': lambda data: enlarge_tiff(data),
}


def enlarge_tiff(data):
    (offset,) = struct.unpack_from('<I', data, 4)
    (count,) = struct.unpack_from('<H', data, offset)
    for entry in range(count):
        at = offset + 2 + 12 * entry
        tag, _ = struct.unpack_from('<HH', data, at)
        if tag in (256, 257):
            struct.pack_into('<HII', data, at + 2, 4, 1, LARGE)


@pytest.mark.parametrize('suffix', PLACES)
def test_a_format_is_decoded_and_refused_where_it_announces_too_much(suffix):
    picture = np.full((9, 14, 3), 77, np.uint8)
    data = bytearray(encoded(suffix, picture))
    np.testing.assert_allclose(decode_file(bytes(data)), picture, atol=3)
    PLACES[suffix](data)
    with pytest.raises(ImageError, match='pixels, the limit is') as refused:
        decode_file(bytes(data))
    assert refused.value.reason == 'too_large'


@pytest.mark.parametrize('quality', [80, 101])
def test_both_kinds_of_webp_say_their_size(quality):
    data = bytes(
        cv2.imencode('.webp', np.zeros((9, 14, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    )
    with pytest.raises(ImageError, match='WebP has 14x9 pixels'):
        check_announced_size(data, limit=100)


def test_an_extended_webp_says_its_size():
    head = b'RIFF\0\0\0\0WEBPVP8X' + struct.pack('<II', 10, 0) + b'\xff\xff\x00\xff\xff\x00'
    with pytest.raises(ImageError, match='WebP has 65536x65536 pixels'):
        check_announced_size(head)


@pytest.mark.parametrize('data', [b'\0\0\0 ftypheic', b'hello', b'#EXTM3U'])
def test_another_format_is_refused_with_those_there_are(data):
    with pytest.raises(ImageError, match='none of JPEG, PNG, BMP, GIF, PNM, TIFF and WebP: convert it'):
        decode_file(data)


@given(
    st.sampled_from(sorted(PLACES)),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=6),
    st.integers(0, 400),
)
def test_damaged_headers_raise_nothing_else(suffix, changes, end):
    data = bytearray(encoded(suffix, np.full((9, 14, 3), 77, np.uint8)))
    for at, value in changes:
        data[at % len(data)] = value
    try:
        decode_file(bytes(data[:end]))
    except ImageError:
        pass


def test_only_regular_files_of_bounded_size_are_read(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'sparse').write_bytes(b'')
    os.truncate(tmp_path / 'sparse', MAX_FILE + 1)
    for name, why in (('pipe', 'not a file'), ('sparse', 'the limit is')):
        with pytest.raises(ImageError, match=why):
            read_picture_file(tmp_path / name)
    with pytest.raises(ImageError, match='not a file'):
        read_picture_file('/dev/zero')
    (tmp_path / 'plain').write_bytes(b'plain')
    assert read_picture_file(tmp_path / 'plain') == b'plain'
