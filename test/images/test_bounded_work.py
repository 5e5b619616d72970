"""A picture that would cost far more than its size is refused after little work; real ones are not."""

import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from counted_work import counted
from hypothesis import given, settings
from hypothesis import strategies as st

from impatient_ros.images.compressed import MAX_PIXELS, decode_compressed
from impatient_ros.images.errors import ImageError
from impatient_ros.images.file_headers import read_image_file

MANY = 200_000  # empty parts, 1 to 2 MB of them
COLOURS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG's colour types and their channels
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def frame(data):
    return SimpleNamespace(format='', data=data)


def chunk(kind, content):
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def png(width, height, *streams, depth=8, colour=2, interlaced=0, others=b''):
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, interlaced))
    data = b''.join(chunk(b'IDAT', stream) for stream in streams)
    return b'\x89PNG\r\n\x1a\n' + header + others + data + chunk(b'IEND', b'')


def noisy(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def jpeg(picture, *options):
    return cv2.imencode('.jpg', picture, list(options))[1].tobytes()


JPEG = jpeg(noisy(48, 64))
PROGRESSIVE = jpeg(noisy(48, 64), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
LAST_SCAN = PROGRESSIVE.rindex(b'\xff\xda')
ONE_PIXEL = zlib.compress(bytes(4))


def before_the_picture(parts):
    return JPEG[:2] + parts + JPEG[2:]


def within_the_picture(parts):
    return JPEG[:-2] + parts + JPEG[-2:]


BOMBS = {
    'zeros behind one pixel': png(1, 1, zlib.compress(bytes(60_000_000), 9)),
    'zeros behind a picture': png(64, 48, zlib.compress(bytes(60_000_000), 9)),
    'more data than pixels take': png(1, 1, bytes(2_000_000)),
    'blocks without content': png(64, 48, b'\x78\x01' + b'\0\0\0\xff\xff' * MANY),
    'empty text chunks': png(64, 48, zlib.compress(bytes(48 * 193)), others=chunk(b'tEXt', b'') * MANY),
    'empty data chunks': png(1, 1, *[b''] * MANY, ONE_PIXEL),
    'palettes': png(1, 1, ONE_PIXEL, colour=3, others=chunk(b'PLTE', bytes(768)) * 2000),
    'empty comments': before_the_picture(b'\xff\xfe\0\2' * MANY),
    'empty JFIF segments': before_the_picture(b'\xff\xe0\0\2' * MANY),
    'large JFIF segments': before_the_picture((b'\xff\xe0\xff\xff' + bytes(65533)) * 40),
    'comments within the picture': within_the_picture(b'\xff\xfe\0\2' * MANY),
    'zeros behind the pixels': within_the_picture(bytes(2_000_000)),
    'escapes behind the pixels': within_the_picture(b'\xff\0' * 1_000_000),
    'restarts behind the pixels': within_the_picture(b'\xff\xd0' * 1_000_000),
    'fill bytes behind the pixels': within_the_picture(b'\xff' * 2_000_000),
    'thousands of scans': PROGRESSIVE[:LAST_SCAN] + PROGRESSIVE[LAST_SCAN:-2] * 5000 + b'\xff\xd9',
    'empty scans': within_the_picture(b'\xff\xda\0\2' * MANY),
}


@pytest.mark.parametrize('name', BOMBS)
def test_a_small_file_of_much_work_is_refused_before_it_is_decoded(name, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', None)
    data = BOMBS[name]
    with counted() as work, pytest.raises(ImageError) as caught:
        decode_compressed(frame(data))
    assert caught.value.reason == 'too_large', str(caught.value)
    assert len(str(caught.value)) < 200
    assert work.calls < 25_000  # 1000 segments at about 20
    assert work.peak_bytes < 2_000_000


def test_fill_bytes_in_front_of_a_marker_are_bounded():
    data = before_the_picture(b'\xff' * 2_000_000)
    with counted() as work, pytest.raises(ImageError, match='marker 0xff'):
        read_image_file(data)
    assert work.calls < 1000


def test_a_progressive_picture_has_fewer_scans_the_larger_it_is(monkeypatch):
    """Each scan passes over all pixels: what counts is their product."""
    ten = PROGRESSIVE.count(b'\xff\xda')
    pixels = 48 * 64
    assert read_image_file(PROGRESSIVE, max_pixels=pixels * ten // 4 + 1)
    with pytest.raises(ImageError, match=f'more than {ten - 1} scans'):
        read_image_file(PROGRESSIVE, max_pixels=pixels * (ten - 1) // 4)


def test_a_png_may_need_no_more_bytes_than_eight_bits_of_rgba_for_every_permitted_pixel():
    data = png(1000, 1000, b'', depth=16, colour=6)
    with pytest.raises(ImageError, match='8001000 bytes of pixels, the limit is 4000000'):
        read_image_file(data, max_pixels=1_000_000)
    assert MAX_PIXELS * 4 <= 2**28


def refused(data):
    try:
        decode_compressed(frame(data))
    except ImageError as error:
        return error.reason
    return ''


@pytest.mark.parametrize(
    'data',
    [
        jpeg(noisy(512, 512), cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111),
        jpeg(noisy(64, 64), cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        jpeg(noisy(9, 7), cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        jpeg(noisy(1, 1), cv2.IMWRITE_JPEG_QUALITY, 100),
        jpeg(noisy(512, 512), cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        before_the_picture((b'\xff\xe1\xff\xff' + bytes(65533)) * 90),  # extended XMP: a depth map
        cv2.imencode('.png', noisy(512, 512), [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes(),
        cv2.imencode('.png', noisy(2000, 2000))[1].tobytes(),  # 12 MB in chunks of 8 KB
        png(64, 48, zlib.compress(bytes(48 * 193)), others=chunk(b'tEXt', bytes(3_000_000))),
    ],
)  # fmt: skip
def test_pictures_that_need_much_are_decoded(data):
    assert refused(data) == ''


@pytest.mark.parametrize('step', [2**12, 2**12 + 2**13, 2**12 + 2**13 + 2**14])
def test_an_end_marker_is_found_wherever_it_lies(step):
    """Also where one of the scanner's steps ends between its two bytes."""
    scan = JPEG.index(b'\xff\xda') + 14  # behind the header of three components
    for count in range(step - 3, step + 3):
        data = JPEG[:scan] + bytes(count) + b'\xff\xd9'
        assert read_image_file(data + b'\xff\xd9').data == data


def test_rows_that_are_flushed_one_by_one_are_decoded():
    """What an encoder writes that sends each row when it is there."""
    picture = noisy(40, 1)
    compressor = zlib.compressobj(9)
    streams = [
        compressor.compress(b'\0' + row.tobytes()) + compressor.flush(zlib.Z_SYNC_FLUSH) for row in picture
    ]
    data = png(1, 40, *streams, compressor.flush())
    assert np.array_equal(decode_compressed(frame(data)), picture)


def size_of_pixels(width, height, depth, channels, interlaced):
    """Bytes, by the rows and columns that NumPy's slices leave of each pass."""
    picture = np.empty((height, width), bool)
    passes = [picture[y::v, x::h] for x, y, h, v in ADAM7] if interlaced else [picture]
    return sum(p.shape[0] * (1 + -(-p.shape[1] * channels * depth // 8)) for p in passes if p.size)


@settings(max_examples=100)
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    kind=st.sampled_from(
        [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8),
         (4, 16), (6, 8), (6, 16)]
    ),
    interlaced=st.sampled_from([0, 1]),
    excess=st.sampled_from([-1, 0, 1]),
)  # fmt: skip
def test_a_png_holds_exactly_the_bytes_that_its_size_needs(width, height, kind, interlaced, excess):
    colour, depth = kind
    size = size_of_pixels(width, height, depth, COLOURS[colour], interlaced) + excess
    palette = chunk(b'PLTE', bytes(3)) if colour == 3 else b''
    stream = zlib.compress(bytes(size))
    data = png(width, height, stream, depth=depth, colour=colour, interlaced=interlaced, others=palette)
    assert refused(data) == {-1: 'decode', 0: '', 1: 'too_large'}[excess]
    if excess == 0:
        rgb = decode_compressed(frame(data))
        assert rgb.shape == (height, width, 3)
        assert not rgb.any()
