"""Resize, crop, normalise: equal to the obvious slow way, whatever the picture's size and memory layout."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impatient_ros.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing


def resampling_matrix(length, resized, wanted):
    """[wanted, length]: antialiased linear interpolation of `length` pixels to `resized`, the middle `wanted`
    of them.

    The triangle filter that Pillow and torchvision (antialias=True) use.
    """
    scale = length / resized
    support = max(1.0, scale)
    centres = (np.arange(wanted) + (resized - wanted) / 2 + 0.5) * scale
    distance = np.abs(np.arange(length)[None] + 0.5 - centres[:, None]) / support
    weights = np.clip(1 - distance, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def reference(rgb, preprocessing):
    """Resize the whole picture in float64, cut the centre out, normalise. -> [1, 3, h, w]"""
    height, width = rgb.shape[:2]
    scale = preprocessing.resize / min(height, width)
    rows = resampling_matrix(height, height * scale, preprocessing.size[0])
    columns = resampling_matrix(width, width * scale, preprocessing.size[1])
    crop = np.einsum('yh,hwc,xw->yxc', rows, rgb.astype(np.float64), columns, optimize=True) / 255
    return ((crop - preprocessing.mean) / preprocessing.std).transpose(2, 0, 1)[None]


def scenery(height, width, seed=0):
    """A picture with slopes, waves of many lengths and a hard edge. uint8 [height, width, 3]"""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    picture = np.empty((height, width, 3))
    for channel in range(3):
        waves = np.zeros((height, width))
        for _ in range(8):
            fy, fx, phase = random.uniform(-12, 12), random.uniform(-12, 12), random.uniform(0, 6)
            waves += np.sin(2 * np.pi * (fy * y + fx * x) + phase)
        picture[..., channel] = 128 + 25 * waves + 30 * (x + y > random.uniform(0.7, 1.3))
    return np.clip(picture, 0, 255).astype(np.uint8)


def levels(tensor, preprocessing):
    """Normalised values back to 0..255."""
    std = np.array(preprocessing.std)[:, None, None]
    mean = np.array(preprocessing.mean)[:, None, None]
    return (tensor * std + mean) * 255


@pytest.mark.parametrize(
    'shape', [(480, 640), (640, 480), (224, 320), (300, 300), (411, 700), (1080, 1920), (60, 90), (950, 240)]
)
def test_equals_resizing_the_whole_picture_in_float64_and_cropping(shape):
    preprocessing = Preprocessing.for_image_size(224)
    picture = scenery(*shape)
    difference = levels(preprocessing(picture), preprocessing) - levels(
        reference(picture, preprocessing), preprocessing
    )
    # in levels of 255; half a level is rounding, the rest is the other antialiasing filter at edges
    assert np.abs(difference).mean() < 1.2
    assert abs(difference.mean()) < 0.5  # neither brighter nor darker


@pytest.mark.parametrize('factor', [1, 2, 3, 5, 8, 9.7])
def test_fine_texture_is_averaged_not_sampled(factor):
    side = round(64 * factor)
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    preprocessing = Preprocessing(64, mean=(0, 0, 0), std=(1, 1, 1))
    deviation = preprocessing(noise).std() * 255
    assert (
        deviation < 1.6 * 73.9 / factor
    )  # the mean of factor^2 independent pixels has deviation 73.9 / factor


@pytest.mark.parametrize('shape', [(64, 64), (200, 200), (201, 333), (640, 360), (37, 41)])
def test_the_crop_is_centred(shape):
    ramp_y, ramp_x = np.mgrid[0 : 255 : shape[0] * 1j, 0 : 255 : shape[1] * 1j]
    picture = np.stack([ramp_y, ramp_x, ramp_x], axis=2).round().astype(np.uint8)
    output = Preprocessing(64, 72, mean=(0, 0, 0), std=(1, 1, 1))(picture)[0] * 255
    slope = 255 / min(shape) * min(shape) / 72  # at most so many levels per output pixel
    assert abs(output[0].mean() - 127.5) < slope
    assert abs(output[1].mean() - 127.5) < slope
    assert np.all(np.diff(output[0].mean(axis=1)) > 0)
    assert np.all(np.diff(output[1].mean(axis=0)) > 0)


def test_a_picture_of_the_wanted_size_is_only_normalised():
    picture = scenery(32, 48)
    expected = (picture / 255 - IMAGENET_MEAN) / IMAGENET_STD
    output = Preprocessing((32, 48), 32)(picture)
    assert np.abs(output[0].transpose(1, 2, 0) - expected).max() < 1e-5


def test_channels_keep_their_order_and_their_own_mean_and_std():
    picture = np.empty((50, 50, 3), np.uint8)
    picture[:] = (51, 102, 204)
    output = Preprocessing(16, mean=(0.1, 0.2, 0.3), std=(0.5, 1, 2))(picture)
    assert np.allclose(output[0, :, 5, 5], [(0.2 - 0.1) / 0.5, (0.4 - 0.2) / 1, (0.8 - 0.3) / 2], atol=1e-6)


def layouts(height, width, seed):
    """Every way in which a message's memory is seen as RGB. -> [(name, view)]"""
    data = np.random.default_rng(seed).integers(0, 256, height * (4 * width + 13), np.uint8)

    def view(shape, offset, strides):
        return np.ndarray(shape, np.uint8, np.frombuffer(data.tobytes(), np.uint8), offset, strides)

    size = (height, width, 3)
    tight, padded = 4 * width, 4 * width + 13
    yield 'rgb8', view(size, 0, (3 * width, 3, 1))
    yield 'rgb8 with row padding', view(size, 0, (padded, 3, 1))
    yield 'bgr8', view(size, 2, (3 * width, 3, -1))
    yield 'bgr8 with row padding', view(size, 2, (padded, 3, -1))
    yield 'rgba8', view(size, 0, (tight, 4, 1))
    yield 'bgra8', view(size, 2, (tight, 4, -1))
    yield 'argb: the fourth byte lies outside at the end', view(size, 1, (tight, 4, 1))[-1:]
    yield 'abgr', view(size, 3, (tight, 4, -1))
    yield 'mono8', view(size, 0, (width, 1, 0))
    yield 'mono8 with row padding', view(size, 0, (padded, 1, 0))
    yield 'region', view(size, 0, (padded, 4, 1))[height // 3 :, width // 3 :]
    yield 'upside down', view(size, 0, (padded, 3, 1))[::-1]
    yield 'mirrored', view(size, 0, (padded, 3, 1))[:, ::-1]
    yield (
        'transposed',
        np.ascontiguousarray(view(size, 0, (padded, 3, 1)).transpose(2, 1, 0)).transpose(2, 1, 0),
    )
    yield 'every second pixel', view(size, 0, (padded, 3, 1))[:, ::2]
    whole_to_last_byte = view((height, width, 4), data.size - height * width * 4, (tight, 4, 1))
    yield 'rgb in the last bytes of the memory', whole_to_last_byte[:, :, 1:]
    yield 'of an owned array', whole_to_last_byte.copy()[:, :, 2::-1]


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    side=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_view_gives_what_its_contiguous_copy_gives(height, width, side, seed):
    preprocessing = Preprocessing.for_image_size(side)
    for name, view in layouts(height, width, seed):
        before = view.copy()
        assert np.array_equal(preprocessing(view), preprocessing(before)), name
        assert np.array_equal(view, before), f'{name}: the picture was written to'


@pytest.mark.parametrize('name', ['rgb8 with row padding', 'bgr8', 'rgba8', 'bgra8', 'mono8'])
def test_common_layouts_are_not_copied(name, monkeypatch):
    view = dict(layouts(100, 120, 0))[name]
    expected = Preprocessing(32)(view)

    def refuse(*args, **kwargs):
        raise AssertionError('the picture was copied')

    monkeypatch.setattr(np, 'ascontiguousarray', refuse)
    assert np.array_equal(Preprocessing(32)(view), expected)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), height=st.integers(1, 300), width=st.integers(1, 300))
def test_any_size_from_one_pixel_gives_the_networks_input(data, height, width):
    size = data.draw(st.one_of(st.integers(1, 64), st.tuples(st.integers(1, 64), st.integers(1, 64))))
    shorter = size if isinstance(size, int) else min(size)
    preprocessing = Preprocessing(size, data.draw(st.integers(shorter, 96)))
    value = data.draw(st.integers(0, 255))
    output = preprocessing(np.full((height, width, 3), value, np.uint8))
    assert output.shape == (1, 3, *preprocessing.size)
    assert output.dtype == np.float32
    assert output.flags.c_contiguous
    expected = (value / 255 - np.array(IMAGENET_MEAN)) / IMAGENET_STD
    assert np.allclose(output, expected[None, :, None, None], atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 5000), width=st.integers(1, 5000), h=st.integers(1, 300), w=st.integers(1, 300),
    margin=st.integers(0, 50),
)  # fmt: skip
def test_the_crop_box_lies_inside_the_picture_and_in_its_middle(height, width, h, w, margin):
    y, x, rows, columns = Preprocessing((h, w), min(h, w) + margin).crop_box(height, width)
    assert y >= -1e-9
    assert x >= -1e-9
    assert rows > 0
    assert columns > 0
    assert 2 * y + rows == pytest.approx(height)
    assert 2 * x + columns == pytest.approx(width)


@pytest.mark.parametrize('shape', [(1, 1), (1, 3000), (3000, 1), (2, 5000), (5000, 3)])
def test_slivers_are_fine(shape):
    output = Preprocessing.for_image_size(224)(np.full((*shape, 3), 255, np.uint8))
    assert output.shape == (1, 3, 224, 224)
    assert np.isfinite(output).all()


def test_writes_into_out():
    preprocessing = Preprocessing(16)
    out = np.full((1, 3, 16, 16), np.nan, np.float32)
    picture = scenery(40, 40)
    assert preprocessing(picture, out=out) is out
    assert np.array_equal(out, preprocessing(picture))


@pytest.mark.parametrize(
    'out',
    [
        np.empty((3, 16, 16), np.float32),
        np.empty((1, 3, 16, 16), np.float64),
        np.empty((1, 16, 16, 3), np.float32).transpose(0, 3, 1, 2),
        [[0.0]],
    ],
)
def test_an_out_that_does_not_fit_is_refused(out):
    with pytest.raises(ValueError, match=r'out must be .* float32 array \[1, 3, 16, 16\]'):
        Preprocessing(16)(scenery(40, 40), out=out)


def test_a_batch_has_one_row_per_picture_whatever_their_sizes():
    preprocessing = Preprocessing.for_image_size(32)
    pictures = [scenery(40, 50, 1), scenery(200, 100, 2), scenery(7, 9, 3)]
    batch = preprocessing.batch(iter(pictures))
    assert batch.shape == (3, 3, 32, 32)
    for row, picture in zip(batch, pictures, strict=True):
        assert np.array_equal(row, preprocessing(picture)[0])
    assert preprocessing.batch([]).shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    ('picture', 'message'),
    [
        (np.zeros((4, 4), np.uint8), r'got uint8 \[4, 4\]'),
        (np.zeros((4, 4, 4), np.uint8), r'got uint8 \[4, 4, 4\]'),
        (np.zeros((4, 4, 3), np.float32), 'got float32'),
        (np.zeros((0, 4, 3), np.uint8), 'at least one pixel'),
        ([[[1, 2, 3]]], 'got list'),
    ],
)
def test_what_is_no_picture_is_refused(picture, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(16)(picture)


def test_for_image_size_keeps_the_usual_margin():
    assert Preprocessing.for_image_size(224) == Preprocessing(224, 256, IMAGENET_MEAN, IMAGENET_STD)
    assert Preprocessing.for_image_size((96, 128)).resize == round(96 * 256 / 224)


def test_a_picture_reduced_to_the_target_side_gives_nearly_the_same():
    preprocessing = Preprocessing.for_image_size(32)
    assert preprocessing.target_side == 2 * 37
    picture = scenery(296, 400)
    reduced = picture.reshape(74, 4, 100, 4, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    difference = levels(preprocessing(picture), preprocessing) - levels(preprocessing(reduced), preprocessing)
    assert np.abs(difference).mean() < 2
    assert Preprocessing((100, 400), 120).target_side == 800


@given(
    size=st.tuples(st.integers(1, 500), st.integers(1, 500)),
    margin=st.integers(0, 100),
    mean=st.tuples(*[st.floats(-1, 2)] * 3),
    std=st.tuples(*[st.floats(1e-3, 10)] * 3),
)
def test_survives_json_and_pickle(size, margin, mean, std):
    preprocessing = Preprocessing(size, min(size) + margin, mean, std)
    again = Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict())))
    assert again == preprocessing
    assert hash(again) == hash(preprocessing)
    assert pickle.loads(pickle.dumps(preprocessing)) == preprocessing


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'size': [0, 224]}, 'size must be'),
        ({'size': [1, 2, 3]}, 'size must be'),
        ({'size': '224'}, 'size must be'),
        ({'size': 224.5}, 'size must be'),
        ({'resize': True}, 'resize must be'),
        ({'resize': None}, 'resize must be'),
        ({'resize': 200}, 'resize 200 is smaller than the crop 224x224: write at least 224'),
        ({'resize': 10**9}, 'resize must be'),
        ({'mean': [0.5, 0.5]}, 'mean must be three finite numbers'),
        ({'mean': 'abc'}, 'mean must be three finite numbers'),
        ({'mean': [0.5, 0.5, float('nan')]}, 'mean must be three finite numbers'),
        ({'std': [0.5, 0, 0.5]}, 'std .* must be at least 1e-06'),
        ({'std': 0.5}, 'std must be three finite numbers'),
        ({'interpolation': 'bicubic'}, 'unknown interpolation'),
    ],
)
def test_from_dict_names_the_key_that_is_wrong(change, message):
    values = {**Preprocessing.for_image_size(224).to_dict(), **change}
    with pytest.raises(ValueError, match=message):
        Preprocessing.from_dict(values)


def test_from_dict_names_what_is_missing():
    with pytest.raises(ValueError, match='missing mean, std'):
        Preprocessing.from_dict({'size': 224, 'resize': 256})
    with pytest.raises(ValueError, match='expected a mapping, got list'):
        Preprocessing.from_dict([224])


# --- other sizes, and the whole picture


@pytest.mark.parametrize(('side', 'resize'), [(96, 110), (160, 183), (224, 256), (288, 329)])
def test_at_another_size_the_crop_keeps_its_share_of_the_picture(side, resize):
    own = Preprocessing(224, 256, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    other = own.at(side)
    assert (other.size, other.resize) == ((side, side), resize)
    assert (other.mean, other.std, other.fit) == (own.mean, own.std, own.fit)
    assert own.with_fit('squash').at(side).fit == 'squash'
    np.testing.assert_allclose(other.crop_box(480, 640)[2:], own.crop_box(480, 640)[2:], rtol=0.01)


def test_only_squares_have_other_sizes():
    with pytest.raises(ValueError, match='only squares have other sizes'):
        Preprocessing((32, 48)).at(16)
    with pytest.raises(ValueError, match='size must be a whole number of pixels'):
        Preprocessing(32).at(0)


@pytest.mark.parametrize('shape', [(64, 64), (480, 640), (1080, 1920), (1920, 640), (37, 411)])
def test_squash_shows_the_whole_picture_without_its_proportions(shape):
    """Each quarter of the input is that quarter of the picture, as resizing all of it in float64 gives."""
    preprocessing = Preprocessing(64, 72, fit='squash')
    assert preprocessing.crop_box(*shape) == (0, 0, *shape)
    picture = scenery(*shape)
    rows = resampling_matrix(shape[0], 64, 64)
    columns = resampling_matrix(shape[1], 64, 64)
    wanted = np.einsum('yh,hwc,xw->cyx', rows, picture.astype(np.float64), columns, optimize=True)
    difference = levels(preprocessing(picture), preprocessing)[0] - wanted
    assert np.abs(difference).mean() < 1.5  # in levels of 255
    assert abs(difference.mean()) < 1  # each of up to five halvings rounds a half up, 1/8 or 1/4 of a level


@pytest.mark.parametrize('corner', [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_what_is_in_a_corner_of_a_wide_picture_is_seen_squashed_and_not_cropped(corner):
    picture = np.zeros((270, 960, 3), np.uint8)
    y, x = (slice(-100, None) if end else slice(100) for end in corner)
    picture[y, x] = 255
    squash = Preprocessing(96, mean=(0, 0, 0), std=(1, 1, 1), fit='squash')
    expected = 100 * 100 / (270 * 960)
    assert squash(picture).mean() == pytest.approx(expected, rel=0.02)
    assert squash.with_fit('crop')(picture).max() == 0


def test_fine_texture_is_averaged_along_the_axis_that_is_squashed_most():
    noise = np.random.default_rng(0).integers(0, 256, (96, 1024, 3), np.uint8)
    squashed = Preprocessing(64, mean=(0, 0, 0), std=(1, 1, 1), fit='squash')(noise)
    assert squashed.std() * 255 < 1.6 * 73.9 / (16 * 1.5) ** 0.5


def test_fit_is_kept_and_left_out_where_it_is_the_default():
    squash = Preprocessing(32, 36).with_fit('squash')
    assert squash != Preprocessing(32, 36)
    assert Preprocessing.from_dict(json.loads(json.dumps(squash.to_dict()))) == squash
    assert pickle.loads(pickle.dumps(squash)) == squash
    assert 'fit' not in Preprocessing(32, 36).to_dict()
    with pytest.raises(ValueError, match="fit is 'stretch': write one of crop, squash"):
        squash.with_fit('stretch')
    with pytest.raises(ValueError, match='fit is'):
        Preprocessing.from_dict(squash.to_dict() | {'fit': 1})
