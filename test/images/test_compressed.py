"""JPEG and PNG frames are decoded to what was encoded; damaged, truncated and huge ones are refused."""

import array
import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from impatient_ros.images.compressed import MAX_PIXELS, decode_compressed
from impatient_ros.images.errors import ImageError
from impatient_ros.images.file_headers import read_image_file
from impatient_ros.images.image_file import ImageFile

BAD_IMAGES = Path(__file__).parents[3] / 'shared' / 'data' / 'bad_images.zip'


def frame(data, format='jpeg'):
    return SimpleNamespace(format=format, data=array.array('B', data))


def scenery(height=60, width=90):
    """A smooth picture that JPEG keeps, every channel different. uint8 [height, width, 3] RGB"""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([40 + 180 * x, 220 - 160 * y, 60 + 60 * x + 60 * y], axis=2).astype(np.uint8)


def encoded(picture, kind='JPEG', mode=None, **options):
    image = Image.fromarray(picture)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


JPEG = encoded(scenery(), quality=95, subsampling=0)
PROGRESSIVE = encoded(scenery(), quality=95, progressive=True)
PNG = encoded(scenery(), 'PNG')


def png(width, height, depth=8, colour=2, data=b''):
    def chunk(name, content):
        return (
            struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))
        )

    header = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(data))
        + chunk(b'IEND', b'')
    )


def with_jpeg_size(data, width, height):
    """The same file saying that it has another size."""
    start = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
    return data[: start + 5] + struct.pack('>HH', height, width) + data[start + 9 :]


def difference(rgb, picture):
    assert rgb.shape == picture.shape
    assert rgb.dtype == np.uint8
    return np.abs(rgb.astype(int) - picture).max()


def refusal(data, **options):
    with pytest.raises(ImageError) as caught:
        decode_compressed(frame(data, options.pop('format', 'jpeg')), **options)
    return caught.value


@pytest.mark.parametrize(
    'format',
    [
        'jpeg',
        'jpg',
        'PNG',
        '',
        'rgb8; jpeg compressed bgr8',
        'bgr8; jpeg compressed bgr8',
        'bgr8; png compressed',
        'image/jpeg',
    ],
)
def test_what_the_data_is_decides_whatever_the_format_string_says(format):
    assert difference(decode_compressed(frame(JPEG, format)), scenery()) <= 6
    assert difference(decode_compressed(frame(PNG, format)), scenery()) == 0


@pytest.mark.parametrize('format', ['rgb8; jpeg compressed rgb8', 'bgr8; png compressed rgb8'])
def test_red_and_blue_swapped_before_compressing_are_swapped_back(format):
    swapped = encoded(np.ascontiguousarray(scenery()[:, :, ::-1]), 'PNG')
    assert difference(decode_compressed(frame(swapped, format)), scenery()) == 0


@pytest.mark.parametrize(
    'options', [{'progressive': True}, {'optimize': True}, {'subsampling': 2}, {'quality': 100}]
)
def test_every_common_kind_of_jpeg_is_decoded(options):
    data = encoded(scenery(), **{'quality': 95, **options})
    assert difference(decode_compressed(frame(data)), scenery()) <= 10


def test_grey_pictures_are_one_plane_seen_three_times():
    grey = scenery()[:, :, 0]
    for data, tolerance in (
        (encoded(grey, quality=95), 4),
        (encoded(grey, 'PNG'), 0),
        (encoded(grey, 'PNG', 'LA'), 0),
    ):
        rgb = decode_compressed(frame(data, 'mono8; jpeg compressed '))
        assert difference(rgb, np.repeat(grey[:, :, None], 3, axis=2)) <= tolerance
        assert rgb.strides[2] == 0


def test_sixteen_bit_png_keeps_its_high_bits():
    words = np.array([[0, 255, 256], [32768, 65279, 65535]], np.uint16)
    data = encoded(words, 'PNG')
    rgb = decode_compressed(frame(data, 'mono16; png compressed'))
    assert np.array_equal(rgb[:, :, 1], np.round(words / 257))


@pytest.mark.parametrize('bits', [10, 12, 14])
def test_a_png_of_a_sensor_with_fewer_bits_is_not_black(bits):
    words = np.linspace(0, 2**bits - 1, 600).reshape(20, 30).astype(np.uint16)
    rgb = decode_compressed(frame(encoded(words, 'PNG'), 'mono16; png compressed'))
    assert np.abs(rgb[:, :, 1] - words * (255 / (2**bits - 1))).max() <= 0.5


@pytest.mark.parametrize('mode', ['P', 'RGBA', '1'])
def test_png_of_other_modes_becomes_rgb(mode):
    picture = np.kron([[0, 255], [255, 0]], np.ones((8, 8))).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    assert difference(decode_compressed(frame(encoded(picture, 'PNG', mode))), picture) == 0


def test_a_cmyk_jpeg_is_decoded_to_its_colours():
    assert difference(decode_compressed(frame(encoded(scenery(), mode='CMYK', quality=95))), scenery()) <= 12


def test_exif_orientation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert difference(decode_compressed(frame(encoded(scenery(), quality=95, exif=exif))), scenery()) <= 12


@pytest.mark.parametrize('wrap', [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)])
def test_data_may_be_any_bytes(wrap):
    message = SimpleNamespace(format='png', data=wrap(PNG))
    assert difference(decode_compressed(message), scenery()) == 0


@settings(max_examples=30, deadline=None)
@given(data=st.data(), file=st.sampled_from([JPEG, PNG]))
def test_a_region_is_that_part_of_the_whole_picture(data, file):
    x, y = data.draw(st.integers(0, 89)), data.draw(st.integers(0, 59))
    w, h = data.draw(st.integers(1, 90 - x)), data.draw(st.integers(1, 60 - y))
    whole = decode_compressed(frame(file))
    assert np.array_equal(decode_compressed(frame(file), (x, y, w, h)), whole[y : y + h, x : x + w])


def test_a_region_outside_is_refused():
    assert refusal(JPEG, roi=(80, 0, 20, 10)).reason == 'roi'


@pytest.mark.parametrize(
    ('target', 'shape'),
    [
        (None, (480, 642)),
        (481, (480, 642)),
        (240, (240, 321)),
        (239, (240, 321)),
        (60, (60, 81)),
        (1, (60, 81)),
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_needed(target, shape):
    picture = scenery(480, 642)
    rgb = decode_compressed(frame(encoded(picture, quality=95)), target_side=target)
    assert rgb.shape == (*shape, 3)
    n = round(480 / shape[0])
    assert difference(rgb[:, : 642 // n], picture[n // 2 :: n, n // 2 :: n][:, : 642 // n]) <= 12


def test_the_region_counts_pixels_of_the_full_size():
    picture = scenery(400, 400)
    picture[200:, 200:] = (250, 10, 10)
    data = encoded(picture, quality=95, subsampling=0)
    rgb = decode_compressed(frame(data), roi=(200, 200, 160, 120), target_side=30)
    assert rgb.shape == (30, 40, 3)
    assert np.abs(rgb.mean(axis=(0, 1)) - (250, 10, 10)).max() < 3
    assert decode_compressed(frame(data), roi=(200, 200, 160, 120), target_side=31).shape == (60, 80, 3)


@pytest.mark.parametrize(
    ('data', 'reason', 'text'),
    [
        (b'', 'data', 'no data'),
        (b'GIF89a' + bytes(50), 'format', 'neither JPEG nor PNG, it starts with 47 49 46'),
        (bytes(1000), 'format', 'neither JPEG nor PNG'),
        (JPEG[: len(JPEG) // 2], 'truncated', 'without its end marker'),
        (JPEG[:-2], 'truncated', 'without its end marker'),
        (JPEG[:100], 'truncated', 'within its header'),
        (JPEG[:2], 'truncated', 'within its header'),
        (PNG[: len(PNG) // 2], 'truncated', 'without its end (IEND)'),
        (PNG[:20], 'truncated', 'within its header'),
        (b'\xff\xd8\xff\xd9', 'truncated', 'within its header'),
        (b'\xff\xd8\xff\xd9' + bytes(9), 'header', 'marker 0xd9'),
        (b'\xff\xd8' + b'\xff' * 5000, 'truncated', 'within its header'),
        (b'\xff\xd8\xff\xe0\x00\x01' + bytes(9), 'header', 'impossible length'),
        (JPEG[:2] + b'garbage' + JPEG[2:], 'header', 'no marker at byte 2'),
        (PNG[:8] + b'\x00\x00\x00\x0dIDAT' + PNG[16:], 'header', 'does not start with its header'),
        (with_jpeg_size(JPEG, 0, 60), 'size', '0x60'),
        (with_jpeg_size(JPEG, 90, 0), 'size', '90x0'),
        (png(0, 5), 'size', '0x5'),
        (with_jpeg_size(JPEG, 65000, 65000), 'too_large', '65000x65000'),
        (png(2**31 - 1, 2**31 - 1), 'too_large', '2147483647x2147483647'),
        (png(100, 100, data=b'too little'), 'decode', 'damaged'),
        (png(100, 100, depth=3, data=bytes(40000)), 'decode', 'damaged'),
        (JPEG.replace(b'\xff\xc0', b'\xff\xc5', 1), 'decode', 'damaged'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_broken_files_are_refused_with_a_reason(data, reason, text, capfd):
    error = refusal(data)
    assert (error.reason, text in str(error)) == (reason, True), str(error)


@pytest.mark.parametrize(
    'format', ['16UC1; compressedDepth png', '16UC1; png compressed', '32FC1; png compressed', '16UC1']
)
def test_depth_is_no_picture(format):
    error = refusal(PNG, format=format)
    assert error.reason == 'format'
    assert "not a picture: name the camera's colour or infrared topic" in str(error)


def test_data_that_is_no_bytes_is_refused():
    with pytest.raises(ImageError, match='data is a list'):
        decode_compressed(SimpleNamespace(format='jpeg', data=[255, 216]))


def test_the_limit_of_pixels_can_be_set():
    assert refusal(JPEG, max_pixels=60 * 90 - 1).reason == 'too_large'
    decode_compressed(frame(JPEG), max_pixels=60 * 90)
    assert MAX_PIXELS >= 3840 * 2160


def test_the_size_is_read_without_decoding(monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', None)
    assert read_image_file(JPEG) == ImageFile('jpeg', 90, 60, grey=False)
    assert read_image_file(PNG) == ImageFile('png', 90, 60, grey=False)
    assert read_image_file(encoded(scenery()[:, :, 0], progressive=True)).grey
    assert refusal(with_jpeg_size(JPEG, 65000, 65000)).reason == 'too_large'


def test_a_decoder_gets_nothing_but_what_makes_up_the_picture():
    exif = Image.Exif()
    exif[0x010E] = 'a description'
    jpeg = encoded(scenery(), quality=95, subsampling=0, exif=exif, comment=b'a comment')
    assert b'Exif' in jpeg
    assert read_image_file(jpeg).data == JPEG
    frames = [Image.fromarray(scenery()), Image.fromarray(scenery()[::-1].copy())]
    animated = io.BytesIO()
    frames[0].save(animated, 'PNG', save_all=True, append_images=frames[1:])
    assert b'acTL' in animated.getvalue()
    reduced = read_image_file(animated.getvalue()).data
    assert reduced.count(b'IHDR') == 1
    assert not any(kind in reduced for kind in (b'acTL', b'fcTL', b'fdAT'))
    assert difference(decode_compressed(frame(animated.getvalue())), scenery()) == 0


def test_a_png_with_a_flipped_bit_fails_its_checksum():
    flipped = bytearray(PNG)
    flipped[60] ^= 1
    assert 'wrong checksum' in str(refusal(bytes(flipped)))


@pytest.mark.parametrize('seed', range(40))
def test_a_picture_ends_at_its_end_marker_whatever_a_phone_appends(seed):
    film = np.random.default_rng(seed).bytes(400_000 + 90_000 * seed)  # all markers are in it, also scans
    for file in (JPEG, PROGRESSIVE):
        whole = decode_compressed(frame(file))
        assert read_image_file(file + b'MotionPhoto_Data' + film).data == read_image_file(file).data
        if seed < 4:
            assert np.array_equal(decode_compressed(frame(file + b'MotionPhoto_Data' + film)), whole)


def test_further_pictures_in_a_file_are_left_out():
    smaller = encoded(scenery(20, 30), quality=95)  # a gain map, the other eye
    assert np.array_equal(decode_compressed(frame(JPEG + smaller)), decode_compressed(frame(JPEG)))
    assert refusal(JPEG[:-2]).reason == 'truncated'


def test_an_end_marker_within_a_segment_between_scans_is_no_end():
    second = PROGRESSIVE.index(b'\xff\xda', PROGRESSIVE.index(b'\xff\xda') + 2)
    comment = b'\xff\xfe' + struct.pack('>H', 8) + b'ab\xff\xd9cd'
    # A scan's tables stand in front of it: where it has some, the comment comes behind them.
    whole = PROGRESSIVE[:second] + comment + PROGRESSIVE[second:]
    assert np.array_equal(decode_compressed(frame(whole)), decode_compressed(frame(PROGRESSIVE)))


def test_fill_bytes_before_markers_are_passed_over():
    filled = JPEG[:2] + b'\xff' * 40 + JPEG[2:-2] + b'\xff' * 40 + JPEG[-2:]
    assert np.array_equal(decode_compressed(frame(filled)), decode_compressed(frame(JPEG)))


def test_an_end_marker_in_a_thumbnail_does_not_hide_that_the_end_is_missing():
    thumbnail = b'\xff\xe1' + struct.pack('>H', 8) + b'ab\xff\xd9cd'
    whole = JPEG[:2] + thumbnail + JPEG[2:]
    assert difference(decode_compressed(frame(whole)), scenery()) <= 6
    assert refusal(whole[:-200]).reason == 'truncated'


SEEDS = [
    JPEG,
    PNG,
    encoded(scenery(), progressive=True),
    encoded(scenery(30, 40), mode='CMYK'),
    encoded(scenery()[:, :, 0]),
    encoded(scenery(20, 30)[:, :, 0].astype(np.uint16) * 200, 'PNG'),
]


@st.composite
def damaged_files(draw):
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        # Half of the damage in the header, where it does more.
        end = len(data) if draw(st.booleans()) else min(len(data), 700)
        data[draw(st.integers(0, end - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        start = draw(st.integers(0, len(data)))
        del data[start : start + draw(st.integers(1, 400))]
    return bytes(data)


@settings(max_examples=300, deadline=2000)
@given(
    data=st.binary(max_size=300).map(lambda tail: b'\xff\xd8' + tail)
    | st.binary(max_size=60)
    | damaged_files()
)
def test_the_header_reader_raises_nothing_but_image_error(data):
    try:
        file = read_image_file(data)
    except ImageError:
        return
    assert file.width > 0
    assert file.height > 0


@settings(max_examples=150, deadline=5000)
@given(data=damaged_files())
def test_damage_is_decoded_or_refused(data):
    try:
        # Flipped bytes can declare a large picture that really is decoded: keep the test quick.
        rgb = decode_compressed(frame(data), max_pixels=1_000_000)
    except ImageError:
        return
    file = read_image_file(data)
    assert rgb.shape == (file.height, file.width, 3)


DECODE_ALL = """
import collections, json, resource, sys, time, zipfile
from types import SimpleNamespace
from impatient_ros.images.raw import ImageError, decode_compressed, to_rgb

def resident():
    with open('/proc/self/statm') as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

archive = zipfile.ZipFile(sys.argv[1])
files = [archive.read(name) for name in archive.namelist() if not name.endswith('/')]
outcomes, slowest, memory = collections.Counter(), 0.0, []
for _ in range(int(sys.argv[2])):
    for data in files:
        for options in ({}, {'target_side': 100}):
            start = time.perf_counter()
            try:
                rgb = decode_compressed(SimpleNamespace(format='jpeg', data=data), **options)
                assert rgb.ndim == 3 and rgb.shape[2] == 3, rgb.shape
                outcomes['decoded'] += 1
            except ImageError as error:
                outcomes[error.reason] += 1
            slowest = max(slowest, time.perf_counter() - start)
        image = SimpleNamespace(encoding='rgb8', height=480, width=640, step=1920, is_bigendian=0, data=data)
        try:
            to_rgb(image)
        except ImageError:
            pass
    memory.append(resident())
print(json.dumps({'files': len(files), 'outcomes': outcomes, 'slowest': slowest, 'memory': memory}))
"""


@pytest.mark.skipif(
    not BAD_IMAGES.is_file(), reason='the collection of broken pictures is not on this machine'
)
def test_no_file_of_the_collection_of_broken_pictures_crashes_hangs_or_leaks():
    # A process of its own: a crash of a decoder would otherwise end the tests.
    command = [sys.executable, '-c', DECODE_ALL, str(BAD_IMAGES), '6']
    root = Path(__file__).parents[2]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr[-2000:]
    report = json.loads(result.stdout)
    assert report['files'] > 400
    assert sum(report['outcomes'].values()) == 6 * 2 * report['files']
    assert report['outcomes']['decoded'] > 0
    assert report['slowest'] < 5
    assert report['memory'][-1] - report['memory'][1] < 20 * 2**20, report['memory']
