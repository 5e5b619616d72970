"""Whatever arrives is a picture or an ImageError, after work that the message's limits bound.

Files and messages are put together from parts, right and wrong ones, some of them thousands of times:
flipped bytes alone hardly get past a checksum. The long runs are in `make test-all` and are seeded.
"""

import struct
import zlib
from collections import Counter
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from counted_work import counted
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from impatient_ros.images.compressed import decode_compressed
from impatient_ros.images.encodings import ENCODINGS
from impatient_ros.images.errors import ImageError
from impatient_ros.images.raw import to_rgb
from impatient_ros.images.serialized import read_compressed_image, read_image

MAX_PIXELS = 50_000  # 250x200
MOST_CALLS = 40_000  # 1000 segments, or chunks and as many as MAX_PIXELS permits, at 20 or less
MOST_BYTES = 4_000_000  # beside the message: 200 kB of pixels in each step from file to RGB
READER_CALLS = 200
LONG = 4000  # examples, about a minute

# Nothing is shrunk: that takes longer than reading the input, which is printed.
fuzzing = {'deadline': None, 'suppress_health_check': list(HealthCheck)}
found = (Phase.explicit, Phase.generate)


def picture(height=30, width=40):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def encoded(suffix, *options):
    return cv2.imencode(suffix, picture(), list(options))[1].tobytes()


def segments_of(data):
    """The segments of a JPEG up to its first scan, and all from there on."""
    position, parts = 2, []
    while data[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], 'big')
        parts.append(data[position:end])
        position = end
    return [*parts, data[position:]]


def chunk(kind, content, right=True):
    checksum = zlib.crc32(kind + content) ^ (not right)
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', checksum)


JPEGS = [
    segments_of(encoded('.jpg')),
    segments_of(encoded('.jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    segments_of(encoded('.jpg', cv2.IMWRITE_JPEG_RST_INTERVAL, 1)),
]
bytes_to_put_in = st.binary(max_size=40)
often = st.sampled_from([1, 1, 1, 1, 2, 30, 3000])
markers = st.sampled_from(
    [0xC0, 0xC2, 0xC4, 0xDA, 0xD9, 0xD8, 0xDB, 0xDD, 0xE0, 0xE1, 0xEE, 0xFE, 0xFF, 0x01]
)
markers |= st.integers(0, 255)


@st.composite
def jpegs(draw):
    parts = list(draw(st.sampled_from(JPEGS)))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(parts)))
        kind = draw(st.sampled_from(['segment', 'bytes', 'erase', 'repeat', 'cut', 'set', 'set']))
        if kind == 'segment':
            content = draw(bytes_to_put_in)
            length = draw(st.just(len(content) + 2) | st.integers(0, 65535))
            part = bytes([0xFF, draw(markers)]) + struct.pack('>H', length) + content
            parts.insert(at, part * draw(often))
        elif kind == 'bytes':
            parts.insert(
                at, draw(bytes_to_put_in | st.sampled_from([b'\xff', b'\0', b'\xff\0'])) * draw(often)
            )
        elif at < len(parts):
            if kind == 'erase':
                del parts[at]
            elif kind == 'repeat':
                parts[at] *= draw(st.integers(2, 40))
            elif kind == 'cut':
                parts[at] = parts[at][: draw(st.integers(0, len(parts[at])))]
            elif parts[at]:
                changed = bytearray(parts[at])
                changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
                parts[at] = bytes(changed)
    return b'\xff\xd8' + b''.join(parts)


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ZEROS = zlib.compress(bytes(20_000_000), 9)
EMPTY_BLOCKS = b'\x78\x01' + b'\0\0\0\xff\xff' * 5000
kinds = st.sampled_from([b'IDAT', b'PLTE', b'tEXt', b'acTL', b'fdAT', b'IHDR', b'IEND'])


@st.composite
def pngs(draw):
    side = st.integers(1, 60)
    if draw(st.integers(0, 4)) == 0:
        side = st.sampled_from([0, 300, 2**16, 2**31 - 1, 2**32 - 1])
    width, height = draw(side), draw(side)
    depth, colour = draw(st.sampled_from([(8, 2), (8, 0), (16, 2), (1, 3), (8, 6), (9, 2), (8, 200)]))
    tail = draw(st.sampled_from([b'\0\0\0'] * 4 + [b'\0\0\1', b'\0\1\0', b'\xff\xff\xff']))
    needed = height * (1 + -(-width * depth * CHANNELS.get(colour, 1) // 8))
    stream = zlib.compress(bytes(min(needed, 300_000)))
    parts = [chunk(b'IHDR', struct.pack('>IIBB', width, height, depth, colour) + tail)]
    if colour == 3:
        parts.append(chunk(b'PLTE', bytes(6)))
    cut = draw(st.integers(0, len(stream)))
    parts += [chunk(b'IDAT', stream[:cut]), chunk(b'IDAT', stream[cut:]), chunk(b'IEND', b'')]
    for _ in range(draw(st.sampled_from([0, 0, 1, 2, 3]))):
        at = draw(st.integers(0, len(parts)))
        content = draw(st.binary(max_size=30) | st.sampled_from([b'', ZEROS, EMPTY_BLOCKS]))
        part = chunk(draw(kinds), content, draw(st.sampled_from([True] * 9 + [False])))
        parts.insert(at, part * (draw(often) if len(content) < 100 else 1))
        if draw(st.integers(0, 3)) == 0:
            del parts[draw(st.integers(0, len(parts) - 1))]
    data = b'\x89PNG\r\n\x1a\n' + b''.join(parts)
    return data if draw(st.integers(0, 9)) else data[: draw(st.integers(0, len(data)))]


@st.composite
def messages(draw):
    """Serialised images whose fields fit together, or not quite."""
    order = draw(st.sampled_from(['<', '>']))
    body = bytearray()

    def word(value):
        body.extend(bytes(-len(body) % 4) + struct.pack(f'{order}I', value % 2**32))

    def text(value):
        word(len(value) + 1 + draw(wrong))
        body.extend(value + b'\0')

    wrong = st.sampled_from([0] * 60 + [1, -1, 4, 10_000_000, 2**32 - 1])
    encoding = draw(st.sampled_from([*sorted(ENCODINGS), '16UC1', '32FC1', 'x' * 100_000]))
    width, height = 2 * draw(st.integers(0, 20)), 2 * draw(st.integers(0, 20))
    step = width * (ENCODINGS[encoding].pixel_bytes if encoding in ENCODINGS else 1) + draw(
        st.integers(-1, 3)
    )
    word(draw(st.integers(0, 2**32 - 1)))
    word(draw(st.integers(0, 2**32 - 1)))
    text(draw(st.sampled_from([b'camera'] * 5 + [b'', b'\xff\xfe', b'f' * 100_000])))
    word(height + draw(wrong))
    word(width + draw(wrong))
    text(encoding.encode())
    body.append(draw(st.integers(0, 1)))
    word(step + draw(wrong))
    size = max(0, step * height * draw(st.integers(1, 3)) + draw(st.sampled_from([0, 0, -1, 1])))
    word(size + draw(wrong))
    body.extend(bytes(size))
    start = draw(st.sampled_from([b'\0\1\0\0', b'\0\7\0\0'] if order == '<' else [b'\0\0\0\0', b'\0\6\0\0']))
    message = start + bytes(body)
    return message if draw(st.integers(0, 9)) else message[: draw(st.integers(0, len(message)))]


@pytest.fixture(scope='module', autouse=True)
def warm():
    """What the first call alone costs is not counted: imports, caches."""
    decode_compressed(SimpleNamespace(format='', data=encoded('.png')))
    to_rgb(SimpleNamespace(encoding='mono16', height=2, width=2, step=4, is_bigendian=0, data=bytes(8)))
    with pytest.raises(ImageError, match='ends after'):
        read_image(b'\0\1\0\0')


def is_decoded_or_refused(data):
    with counted() as work:
        try:
            rgb = decode_compressed(SimpleNamespace(format='', data=data), max_pixels=MAX_PIXELS)
        except ImageError as error:
            rgb, text = None, str(error)
    assert work.calls < MOST_CALLS
    assert work.peak_bytes < MOST_BYTES + 2 * len(data)
    if rgb is None:
        assert len(text) < 500
    else:
        assert rgb.dtype == np.uint8
        assert rgb.shape[0] * rgb.shape[1] <= MAX_PIXELS
        rgb.sum()  # every byte can be read


def is_read_or_refused(message):
    for read, convert in ((read_image, to_rgb), (read_compressed_image, decode_compressed)):
        with counted() as reading:
            try:
                view = read(message)
            except ImageError as error:
                view, text = None, str(error)
        assert reading.calls < READER_CALLS
        assert reading.peak_bytes < 50_000  # nothing is copied but short texts
        if view is None:
            assert len(text) < 300
            continue
        with counted() as converting:
            try:
                text = str(convert(view).shape)
            except ImageError as error:
                text = str(error)
        assert len(text) < 500
        assert converting.calls < READER_CALLS
        assert converting.peak_bytes < 200_000 + 20 * len(view.data)


@settings(max_examples=150, phases=found, **fuzzing)
@given(jpegs() | pngs())
def test_files_of_right_and_wrong_parts_are_decoded_or_refused(data):
    is_decoded_or_refused(data)


@settings(max_examples=150, phases=found, **fuzzing)
@given(messages())
def test_messages_that_do_not_quite_fit_are_read_or_refused(message):
    is_read_or_refused(message)


@pytest.mark.slow
@pytest.mark.timeout(600)
@seed(12)
@settings(max_examples=LONG, phases=found, **fuzzing)
@given(jpegs() | pngs())
def test_thousands_of_files_are_decoded_or_refused(data):
    is_decoded_or_refused(data)


@pytest.mark.slow
@pytest.mark.timeout(600)
@seed(12)
@settings(max_examples=LONG, phases=found, **fuzzing)
@given(messages())
def test_thousands_of_messages_are_read_or_refused(message):
    is_read_or_refused(message)


@pytest.mark.parametrize(('strategy', 'least'), [(jpegs(), 20), (pngs(), 5), (messages(), 30)])
def test_the_inputs_are_not_all_refused(strategy, least):
    """An input that is refused at its first byte tests nothing behind it."""
    outcomes = []

    @settings(max_examples=200, phases=found, derandomize=True, database=None, **fuzzing)
    @given(strategy)
    def collect(data):
        try:
            if data[:1] == b'\0':
                to_rgb(read_image(data))
            else:
                decode_compressed(SimpleNamespace(format='', data=data), max_pixels=MAX_PIXELS)
        except ImageError as error:
            outcomes.append(error.reason)
        else:
            outcomes.append('decoded')

    collect()
    assert outcomes.count('decoded') >= least, Counter(outcomes)
    assert len(set(outcomes)) >= 4
