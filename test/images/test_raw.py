"""Image messages become RGB views; whatever does not fit together is refused with its reason."""

import array
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impatient_ros.images.encodings import ENCODINGS
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.images.raw import Converter, ImageError, to_rgb


def message(encoding, pixels, *, step=None, is_bigendian=0, height=None):
    """`pixels`: uint8 [H, W, bytes per pixel], laid out with `step` bytes per row, noise between the rows."""
    count, width = pixels.shape[:2]
    rows = pixels.reshape(count, -1)
    padded = noise(count, rows.shape[1] if step is None else step, seed=9)
    padded[:, : rows.shape[1]] = rows
    return SimpleNamespace(
        encoding=encoding,
        height=count if height is None else height,
        width=width,
        step=padded.shape[1],
        is_bigendian=is_bigendian,
        data=array.array('B', padded.tobytes()),
    )


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def any_message(encoding, height, width, padding=0, is_bigendian=0, seed=0):
    """A valid message of random bytes in any encoding; the second planes of NV formats included."""
    entry = ENCODINGS[encoding]
    step = width * entry.pixel_bytes + padding
    data = noise(entry.rows(height) * step, seed=seed)
    return SimpleNamespace(
        encoding=encoding,
        height=height,
        width=width,
        step=step,
        is_bigendian=is_bigendian,
        data=array.array('B', data.tobytes()),
    )


COLOURS = {'rgb8': [0, 1, 2], 'bgr8': [2, 1, 0], 'rgba8': [0, 1, 2], 'bgra8': [2, 1, 0], '8UC3': [2, 1, 0]}
COLOURS = {**COLOURS, '8UC4': [2, 1, 0], 'mono8': [0, 0, 0], '8UC1': [0, 0, 0]}


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', COLOURS)
def test_eight_bit_encodings_are_views_of_the_message(encoding, padding):
    pixels = noise(7, 9, ENCODINGS[encoding].pixel_bytes)
    image = message(encoding, pixels, step=9 * pixels.shape[2] + padding)
    rgb = to_rgb(image)
    assert np.array_equal(rgb, pixels[:, :, COLOURS[encoding]])
    assert np.shares_memory(rgb, np.frombuffer(image.data, np.uint8))
    assert not rgb.flags.writeable


@pytest.mark.parametrize('encoding', COLOURS)
def test_views_are_preprocessed_without_a_copy_of_the_picture(encoding, monkeypatch):
    pixels = noise(90, 110, ENCODINGS[encoding].pixel_bytes)
    image = message(encoding, pixels, step=110 * pixels.shape[2] + 3)
    preprocessing = Preprocessing.for_image_size(32)
    expected = preprocessing(np.ascontiguousarray(pixels[:, :, COLOURS[encoding]]))

    def refuse(*args, **kwargs):
        raise AssertionError('the picture was copied')

    monkeypatch.setattr(np, 'ascontiguousarray', refuse)
    assert np.array_equal(preprocessing(to_rgb(image)), expected)
    assert np.array_equal(preprocessing(to_rgb(image, roi=(0, 0, 110, 90))), expected)


@pytest.mark.parametrize(
    'wrap',
    [bytes, bytearray, memoryview, lambda b: array.array('B', b), lambda b: np.frombuffer(b, np.uint8)],
)
def test_data_may_be_any_contiguous_bytes(wrap):
    pixels = noise(3, 4, 3)
    image = message('rgb8', pixels)
    image.data = wrap(pixels.tobytes())
    assert np.array_equal(to_rgb(image), pixels)


def test_the_view_keeps_the_messages_memory_alive():
    image = message('bgr8', noise(3, 4, 3))
    expected = to_rgb(image).copy()
    rgb = to_rgb(image)
    del image
    assert np.array_equal(rgb, expected)


@pytest.mark.parametrize('is_bigendian', [0, 1])
@pytest.mark.parametrize('padding', [0, 2, 3])
def test_sixteen_bits_are_scaled_to_eight_in_either_byte_order(is_bigendian, padding):
    values = np.array([[0, 128, 129, 256, 257], [32767, 32768, 65278, 65407, 65535]])
    expected = np.round(values / 257)
    pixels = values.astype('>u2' if is_bigendian else '<u2')[:, :, None].view(np.uint8)
    rgb = to_rgb(message('mono16', pixels, step=10 + padding, is_bigendian=is_bigendian))
    assert np.array_equal(rgb, np.repeat(expected[:, :, None], 3, axis=2))


@pytest.mark.parametrize('is_bigendian', [0, 1])
@pytest.mark.parametrize('bits', [10, 12, 14, 16])
@pytest.mark.parametrize(('encoding', 'channels'), [('mono16', 1), ('rgb16', 3), ('bgra16', 4)])
def test_a_sensor_with_fewer_bits_fills_the_range(encoding, channels, bits, is_bigendian):
    kind = '>u2' if is_bigendian else '<u2'
    values = np.linspace(0, 2**bits - 1, 70).reshape(7, 10)[:, :, None].repeat(channels, axis=2).astype(kind)
    values[:, :, 3:] = 65535  # opaque
    image = message(encoding, values.view(np.uint8), is_bigendian=is_bigendian)
    expected = np.round(values[:, :, :1].astype(float) * 255 / (2**bits - 1))
    assert np.array_equal(to_rgb(image), expected.repeat(3, axis=2))
    # The brightest pixel is not in the region, the scale stays.
    assert np.array_equal(to_rgb(image, roi=(1, 0, 3, 2)), expected[:2, 1:4].repeat(3, axis=2))


def test_a_mosaic_of_twelve_bits_fills_the_range():
    pixels = np.full((6, 8, 1), 4095, '<u2').view(np.uint8)
    assert np.all(to_rgb(message('bayer_rggb16', pixels)) == 255)


def test_a_black_picture_of_sixteen_bits_is_black():
    assert not to_rgb(message('mono16', np.zeros((3, 4, 2), np.uint8))).any()


@pytest.mark.parametrize('encoding', ['16UC1', '16UC', '32FC1', '64FC1', '16SC1', '32SC1', '16FC1', '8SC1'])
def test_depth_is_refused_with_advice_and_no_converter_is_asked(encoding):
    bridge = CvBridge(RuntimeError('not to be called'))
    error = refusal(message(encoding, noise(3, 4, 8)), converter=Converter(bridge))
    assert error.reason == 'encoding'
    assert f'{encoding} is depth or another measurement (REP 118), not a picture' in str(error)
    assert 'mono8 or mono16' in str(error)
    assert bridge.seen == []


@pytest.mark.parametrize(
    ('encoding', 'order'),
    [
        ('rgb16', 'rgb'),
        ('bgr16', 'bgr'),
        ('rgba16', 'rgba'),
        ('bgra16', 'bgra'),
        ('16UC3', 'bgr'),
        ('16UC4', 'bgra'),
    ],
)
@pytest.mark.parametrize('is_bigendian', [0, 1])
def test_sixteen_bit_colours_are_put_in_order(encoding, order, is_bigendian):
    colour = {'r': 10, 'g': 100, 'b': 200, 'a': 255}
    words = np.empty((4, 5, len(order)), '>u2' if is_bigendian else '<u2')
    words[:] = [257 * colour[letter] for letter in order]
    rgb = to_rgb(message(encoding, words.view(np.uint8), is_bigendian=is_bigendian))
    assert rgb.shape == (4, 5, 3)
    assert np.all(rgb == (10, 100, 200))


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('is_bigendian', [0, 1])
@pytest.mark.parametrize('shape', [(6, 8), (5, 7), (3, 3)])
def test_a_mosaic_of_one_colour_becomes_that_colour(pattern, bits, is_bigendian, shape):
    colour = {'r': 30, 'g': 120, 'b': 210}
    tile = np.array([colour[letter] for letter in pattern]).reshape(2, 2)
    mosaic = np.tile(tile, (4, 4))[: shape[0], : shape[1]]
    kind = 'u1' if bits == 8 else '>u2' if is_bigendian else '<u2'
    pixels = (mosaic * (1 if bits == 8 else 257)).astype(kind)[:, :, None].view(np.uint8)
    rgb = to_rgb(message(f'bayer_{pattern}{bits}', pixels, is_bigendian=is_bigendian))
    assert rgb.shape == (*shape, 3)
    assert np.all(rgb == (30, 120, 210))


def luma(*shape):
    return 16 + noise(*shape) % 220  # below 16 is outside the limited range


def from_ycbcr(y, cb, cr):
    """ITU-R BT.601, limited range"""
    y, cb, cr = (plane.astype(float) for plane in (y, cb, cr))
    luma = 255 / 219 * (y - 16)
    red = luma + 1.596 * (cr - 128)
    green = luma - 0.392 * (cb - 128) - 0.813 * (cr - 128)
    blue = luma + 2.017 * (cb - 128)
    return np.clip(np.stack([red, green, blue], axis=2), 0, 255)


@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('uyvy', 'uyvy'), ('yuv422', 'uyvy'), ('yuyv', 'yuyv'), ('yuv422_yuy2', 'yuyv')],
)
def test_packed_yuv_shares_colour_between_two_pixels(encoding, order):
    y, u, v = luma(6, 8), noise(6, 4, seed=1), noise(6, 4, seed=2)
    planes = iter([y[:, ::2], y[:, 1::2]])
    pairs = np.stack([{'u': u, 'v': v}.get(letter) if letter != 'y' else next(planes) for letter in order], 2)
    rgb = to_rgb(message(encoding, pairs.reshape(6, 8, 2), step=23))
    expected = from_ycbcr(y, u.repeat(2, axis=1), v.repeat(2, axis=1))
    assert np.abs(rgb - expected).max() <= 2


@pytest.mark.parametrize(('encoding', 'order'), [('nv12', 'uv'), ('nv21', 'vu')])
@pytest.mark.parametrize('step', [8, 12])
def test_nv_formats_share_colour_between_four_pixels(encoding, order, step):
    y, chroma = luma(6, 8), {'u': noise(3, 4, seed=1), 'v': noise(3, 4, seed=2)}
    second = np.stack([chroma[letter] for letter in order], axis=2).reshape(3, 8)
    image = message(encoding, np.concatenate([y, second])[:, :, None], step=step, height=6)
    expected = from_ycbcr(y, *(chroma[c].repeat(2, axis=0).repeat(2, axis=1) for c in 'uv'))
    assert np.abs(to_rgb(image) - expected).max() <= 2


def test_nv24_has_a_colour_of_its_own_for_every_pixel():
    y, u, v = luma(5, 7), noise(5, 7, seed=1), noise(5, 7, seed=2)
    second = np.stack([u, v], axis=2).reshape(10, 7)
    image = message('nv24', np.concatenate([y, second])[:, :, None], height=5)
    assert np.abs(to_rgb(image) - from_ycbcr(y, u, v)).max() <= 2


@pytest.mark.parametrize('encoding', sorted(ENCODINGS))
@settings(max_examples=10, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_a_region_is_that_part_of_the_whole_picture(encoding, data, seed):
    entry = ENCODINGS[encoding]
    height, width = data.draw(st.integers(2, 12)) * 2, data.draw(st.integers(2, 12)) * 2
    height -= 0 if entry.even[0] else data.draw(st.integers(0, 1))
    width -= 0 if entry.even[1] else data.draw(st.integers(0, 1))
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    w, h = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    endian, padding = data.draw(st.integers(0, 1)), data.draw(st.sampled_from([0, 1, 2, 6]))
    image = any_message(encoding, height, width, padding, endian, seed)
    whole = to_rgb(image)
    assert whole.shape == (height, width, 3)
    assert whole.dtype == np.uint8
    assert np.array_equal(to_rgb(image, roi=(x, y, w, h)), whole[y : y + h, x : x + w])
    assert np.array_equal(to_rgb(image, roi=()), whole)


def refusal(image, **options):
    with pytest.raises(ImageError) as caught:
        to_rgb(image, **options)
    return caught.value


@pytest.mark.parametrize(
    ('changes', 'reason', 'text'),
    [
        ({'data': array.array('B', bytes(35))}, 'data', 'data has 35 bytes, but 3 rows of 12 bytes need 36'),
        ({'data': b''}, 'data', 'data has 0 bytes'),
        ({'data': [0] * 36}, 'fields', 'data is a list'),
        ({'data': None}, 'fields', 'data is a NoneType'),
        ({'data': memoryview(bytes(72))[::2]}, 'fields', 'contiguous'),
        ({'step': 11}, 'step', 'step 11 is less than a row of 4 rgb8 pixels, 12 bytes'),
        ({'step': 0}, 'step', 'step 0'),
        ({'step': -12}, 'fields', 'step is -12'),
        ({'width': 0}, 'size', 'the picture is 0x3 pixels'),
        ({'height': 0}, 'size', 'the picture is 4x0 pixels'),
        ({'width': 2**32 - 1, 'height': 2**32 - 1, 'step': 2**32 - 1}, 'step', 'step 4294967295 is less'),
        ({'height': 2**32 - 1}, 'data', 'need 51539607540'),
        ({'height': 2.0}, 'fields', 'height is 2.0'),
        ({'width': '4'}, 'fields', "width is '4'"),
        (
            {'encoding': 'rgb9'},
            'encoding',
            "encoding 'rgb9' is unknown or holds no picture; accepted are 16UC3",
        ),
        ({'encoding': '32FC1'}, 'encoding', '32FC1'),
        ({'encoding': '8UC2'}, 'encoding', '8UC2'),
        ({'encoding': ''}, 'encoding', "encoding ''"),
        ({'encoding': None}, 'encoding', 'encoding None'),
        ({'encoding': ['rgb8']}, 'encoding', 'accepted are'),
        ({'encoding': 'yuv422', 'width': 3}, 'size', '3x3 must be even'),
        ({'encoding': 'nv21'}, 'size', '4x3 must be even'),
        ({'encoding': 'bayer_rggb8', 'height': 2}, 'size', 'needs 3x3 pixels or more, got 4x2'),
        ({'encoding': 'nv24', 'step': 6}, 'data', '9 rows of 6 bytes need 54'),
    ],
)
def test_fields_that_disagree_are_refused_with_a_reason(changes, reason, text):
    image = message('rgb8', noise(3, 4, 3))
    vars(image).update(changes)
    error = refusal(image)
    assert error.reason == reason
    assert text in str(error)


@pytest.mark.parametrize('field', ['encoding', 'width'])
def test_what_a_stranger_wrote_is_not_repeated_whole(field):
    image = message('rgb8', noise(3, 4, 3))
    setattr(image, field, 'x' * 10_000_000)
    assert len(str(refusal(image))) < 500


def test_a_raw_picture_has_the_same_limit_of_pixels_as_a_compressed_one():
    image = message('mono8', np.zeros((1, 8000, 1), np.uint8), height=8001)
    image.data = bytes(8000 * 8001)
    error = refusal(image)
    assert error.reason == 'too_large'
    assert '8000x8001 pixels, the limit is 64000000' in str(error)
    assert to_rgb(message('mono8', np.zeros((8000, 8000, 1), np.uint8))).shape == (8000, 8000, 3)


@pytest.mark.parametrize(
    'roi', [(3, 0, 2, 1), (0, 2, 1, 2), (-1, 0, 2, 2), (0, 0, 0, 1), (0, 0, 1, -1), (0, 0, 2**40, 1)]
)
def test_a_region_outside_the_picture_is_refused(roi):
    error = refusal(message('rgb8', noise(3, 4, 3)), roi=roi)
    assert error.reason == 'roi'
    assert 'not inside the picture of 4x3 pixels' in str(error)


@pytest.mark.parametrize('roi', [(1, 2, 3), (0, 0, 1.5, 1), ('a', 0, 1, 1), (0, 0, 1, 1, 1)])
def test_a_region_that_is_no_region_is_refused(roi):
    error = refusal(message('rgb8', noise(3, 4, 3)), roi=roi)
    assert error.reason == 'roi'
    assert 'write four whole numbers' in str(error)


@settings(max_examples=300, deadline=None)
@given(
    encoding=st.one_of(st.sampled_from(sorted(ENCODINGS)), st.text(max_size=8)),
    height=st.integers(-1, 40) | st.integers(0, 2**32),
    width=st.integers(-1, 40) | st.integers(0, 2**32),
    step=st.integers(-1, 200) | st.integers(0, 2**32),
    is_bigendian=st.integers(0, 255),
    size=st.integers(0, 5000),
    roi=st.none() | st.tuples(*[st.integers(-2, 40)] * 4),
)
def test_garbage_fields_raise_nothing_but_image_error(encoding, height, width, step, is_bigendian, size, roi):
    image = SimpleNamespace(
        encoding=encoding, height=height, width=width, step=step, is_bigendian=is_bigendian, data=bytes(size)
    )
    try:
        rgb = to_rgb(image, roi)
    except ImageError as error:
        reason, rgb = error.reason, None
    if rgb is None:
        assert reason in {'fields', 'encoding', 'size', 'step', 'data', 'roi'}
    else:
        assert rgb.shape == ((height, width, 3) if roi is None else (roi[3], roi[2], 3))
        rgb.sum()  # every byte of the view can be read


def test_an_image_error_survives_pickling():
    error = pickle.loads(pickle.dumps(ImageError('step', 'too small')))
    assert (error.reason, str(error)) == ('step', 'too small')


class CvBridge:
    """Stands in for a distribution's cv_bridge."""

    def __init__(self, answer):
        self.answer = answer
        self.seen = []

    def __call__(self, image):
        self.seen.append(image)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(image) if callable(self.answer) else self.answer


def test_a_converter_is_asked_where_converting_is_needed():
    bridge = CvBridge(lambda image: np.full((image.height, image.width, 3), 77, np.uint8))
    assert np.all(to_rgb(any_message('yuv422', 4, 6), converter=Converter(bridge)) == 77)
    assert np.all(to_rgb(any_message('bayer_rggb8', 4, 6), converter=Converter(bridge)) == 77)
    assert len(bridge.seen) == 2


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', 'nv21', 'mono16'])
def test_a_converter_is_not_asked_for_views_nor_for_what_it_gets_wrong(encoding):
    bridge = CvBridge(RuntimeError('not to be called'))
    to_rgb(any_message(encoding, 4, 6), converter=Converter(bridge))
    assert bridge.seen == []


def test_a_converter_gets_only_the_region():
    image = any_message('uyvy', 20, 30, padding=3, seed=5)
    bridge = CvBridge(lambda cut: to_rgb(cut))
    rgb = to_rgb(image, roi=(7, 4, 5, 6), converter=Converter(bridge))
    assert np.array_equal(rgb, to_rgb(image)[4:10, 7:12])
    (seen,) = bridge.seen
    assert (seen.height, seen.width, seen.step, len(seen.data)) == (6, 6, 12, 72)


@pytest.mark.parametrize(
    'answer',
    [
        RuntimeError('numpy 2'),
        None,
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 3)),
        np.zeros((6, 4, 3), np.uint8),
    ],
)
def test_where_the_converter_fails_opencv_converts(answer):
    image = any_message('bayer_rggb8', 4, 6)
    assert np.array_equal(to_rgb(image, converter=Converter(CvBridge(answer))), to_rgb(image))


def test_a_converter_that_failed_is_not_asked_again_for_that_encoding_and_says_so_once(caplog):
    bridge = CvBridge(RuntimeError('numpy 2'))
    converter = Converter(bridge)
    for encoding in ('bayer_rggb8', 'bayer_rggb8', 'uyvy', 'uyvy'):
        image = any_message(encoding, 4, 6)
        assert np.array_equal(to_rgb(image, converter=converter), to_rgb(image))
    assert [image.encoding for image in bridge.seen] == ['bayer_rggb8', 'uyvy']
    assert [record.getMessage() for record in caplog.records] == [
        "cv_bridge cannot convert 'bayer_rggb8': RuntimeError('numpy 2')",
        "cv_bridge cannot convert 'uyvy': RuntimeError('numpy 2')",
    ]


def test_encodings_that_no_one_knows_fill_neither_the_log_nor_the_memory(caplog):
    def unknown(image):
        raise RuntimeError(f'Unrecognized image encoding [{image.encoding}]')

    converter = Converter(unknown)
    for number in range(200):
        image = any_message('mono8', 4, 6)
        image.encoding = f'{number}' + 'x' * 100_000
        assert len(str(refusal(image, converter=converter))) < 1000
    assert len(caplog.records) == 50
    assert max(len(record.getMessage()) for record in caplog.records) < 400


def test_only_the_converter_knows_an_unknown_encoding_so_one_bad_frame_does_not_end_it(caplog):
    image = message('tomorrow8', noise(4, 6, 1))
    bridge = CvBridge(RuntimeError('a bad frame'))
    converter = Converter(bridge)
    for _ in range(2):
        error = refusal(image, converter=converter)
        assert error.reason == 'encoding'
        assert str(error.__cause__.__cause__) == 'a bad frame'
    assert len(caplog.records) == 1
    bridge.answer = noise(4, 6, 3)
    assert np.array_equal(to_rgb(image, converter=converter), bridge.answer)


def test_a_converter_may_know_encodings_that_are_unknown_here():
    image = message('tomorrow8', noise(4, 6, 1))
    picture = noise(4, 6, 3)
    assert np.array_equal(
        to_rgb(image, (1, 2, 3, 2), converter=Converter(CvBridge(picture))), picture[2:4, 1:4]
    )
    assert refusal(image, converter=Converter(CvBridge(RuntimeError()))).reason == 'encoding'
    image.data = image.data[:-1]
    assert refusal(image, converter=Converter(CvBridge(picture))).reason == 'data'
