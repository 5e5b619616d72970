"""The one definition of resize, crop and normalise: training's evaluation and the runtime both use it.

    preprocessing = Preprocessing.for_image_size(224)
    tensor = preprocessing(rgb)                 # uint8 [H, W, 3] -> float32 [1, 3, 224, 224]

A picture is resized until its shorter side is `resize`, the centre `size` is cut out (with `fit` squash the
whole picture is resized to `size` instead) and normalised with `mean` and `std`. What is computed equals that
up to rounding but is done the other way round: only the part of the picture that ends up in the crop is read
(see `images.resample`), and colours are put in order on the small picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from impatient_ros.images.resample import cut_out

__all__ = ['FITS', 'IMAGENET_MEAN', 'IMAGENET_STD', 'Preprocessing']

FITS = ('crop', 'squash')  # what `fit` may be

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_KEYS = ('size', 'resize', 'mean', 'std', 'fit')
_LEAST_STD = 1e-6  # keeps what is computed from it far inside of float32


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input.

    `size` is (height, width) of the network's input in pixels (a whole number means a square), `resize` the
    picture's shorter side before the centre is cut out (default: the shorter side of `size`), `mean` and
    `std` are per channel in R, G, B order for values in 0..1. Where a picture so resized would be smaller
    than the crop (a portrait picture for a wide crop) it is enlarged until it covers it; nothing is ever
    padded. With `fit` 'squash' the whole picture is resized to `size`, its proportions are not kept and
    `resize` plays no part. Raises ValueError.
    """

    size: tuple[int, int]
    resize: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    fit: str = 'crop'
    _scale: NDArray[np.float32] = field(init=False, repr=False, compare=False)
    _offset: NDArray[np.float32] = field(init=False, repr=False, compare=False)

    def __init__(
        self,
        size: int | Sequence[int],
        resize: int | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        fit: str = 'crop',
    ) -> None:
        if fit not in FITS:
            raise ValueError(f'preprocessing: fit is {fit!r}: write one of {", ".join(FITS)}')
        size = _sides(size)
        resize = min(size) if resize is None else _pixels('resize', resize)
        if resize < min(size):
            raise ValueError(
                f'preprocessing: resize {resize} is smaller than the crop {size[0]}x{size[1]}: '
                f'write at least {min(size)}'
            )
        mean, std = _channels('mean', mean), _channels('std', std)
        if min(std) < _LEAST_STD or max(map(abs, mean)) > 1 / _LEAST_STD:
            raise ValueError(
                f'preprocessing: std {std} must be at least {_LEAST_STD} in each channel, and mean {mean} at '
                f'most {1 / _LEAST_STD:g}: they are for values in 0..1'
            )
        # The dataclass is frozen; its fields are set once, here.
        for name, value in zip(_KEYS, (size, resize, mean, std, fit), strict=True):
            object.__setattr__(self, name, value)
        # (v / 255 - mean) / std as one multiplication and one addition on the byte v
        object.__setattr__(self, '_scale', (1.0 / (255.0 * np.array(std))).astype(np.float32))
        object.__setattr__(self, '_offset', (-np.array(mean) / np.array(std)).astype(np.float32))

    @classmethod
    def for_image_size(
        cls,
        size: int | Sequence[int],
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> Preprocessing:
        """The usual evaluation transform: the shorter side is resized to 256/224 of the crop's."""
        sides = _sides(size)
        return cls(sides, round(min(sides) * 256 / 224), mean, std)

    def at(self, side: int) -> Preprocessing:
        """The same for a square input of `side` px: `resize` keeps its proportion to the crop.

        Raises ValueError, also where this one's own input is not a square.
        """
        if self.size[0] != self.size[1]:
            raise ValueError(
                f'preprocessing: images of {self.size[0]}x{self.size[1]}, only squares have other sizes'
            )
        side = _pixels('size', side)
        return Preprocessing(side, round(side * self.resize / self.size[0]), self.mean, self.std, self.fit)

    def with_fit(self, fit: str) -> Preprocessing:
        """The same with that `fit`. Raises ValueError."""
        return Preprocessing(self.size, self.resize, self.mean, self.std, fit)

    @property
    def target_side(self) -> int:
        """A picture whose shorter side has this many pixels gives (nearly) what a larger one would.

        Two samples per pixel of the network's input: a hint for decoders that can decode at a reduced size,
        see `decode_compressed`.
        """
        return 2 * max(self.resize, *self.size)

    def crop_box(self, height: int, width: int) -> tuple[float, float, float, float]:
        """(y, x, height, width) of the part that the network sees of a picture of that size, in its pixels.

        The sides of a pixel are at whole numbers: (0, 0, height, width) is the whole picture.
        """
        if self.fit == 'squash':
            return 0.0, 0.0, float(height), float(width)
        scale = max(self.resize / min(height, width), self.size[0] / height, self.size[1] / width)
        h, w = self.size[0] / scale, self.size[1] / scale
        return (height - h) / 2, (width - w) / 2, h, w

    def __call__(self, rgb: NDArray[np.uint8], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """uint8 [H, W, 3], any strides -> float32 [1, 3, size], C-contiguous; written into `out` when given.

        `rgb` is only read. Raises ValueError when `rgb` or `out` are not such arrays.
        """
        return self.batch([rgb], out)

    def batch(
        self, pictures: Iterable[NDArray[np.uint8]], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Pictures of any sizes -> float32 [N, 3, size]; row i equals what this called on picture i gives."""
        pictures = list(pictures)
        shape = (len(pictures), 3, *self.size)
        if out is None:
            out = np.empty(shape, np.float32)
        else:
            _check_out(out, shape)
        for row, rgb in zip(out, pictures, strict=True):
            self._write(rgb, row)
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON; `from_dict` reads it back."""
        return {
            'size': list(self.size),
            'resize': self.resize,
            'mean': list(self.mean),
            'std': list(self.std),
            # Left out where it is the default: files are then read by versions that do not know it.
            **({} if self.fit == 'crop' else {'fit': self.fit}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`. Raises ValueError that names the key."""
        if not isinstance(values, Mapping):
            raise ValueError(f'preprocessing: expected a mapping, got {type(values).__name__}')
        if missing := sorted({*_KEYS} - {'fit'} - set(values)):
            raise ValueError(f'preprocessing: missing {", ".join(missing)}')
        if unknown := sorted(str(key) for key in set(values) - {*_KEYS}):
            raise ValueError(
                f'preprocessing: unknown {", ".join(unknown)}; known are {", ".join(sorted(_KEYS))}'
            )
        if values['resize'] is None:
            raise ValueError('preprocessing: resize must be a whole number of pixels, got None')
        return cls(*(values[key] for key in _KEYS if key in values))

    def _write(self, rgb: NDArray[np.uint8], planes: NDArray[np.float32]) -> None:
        _check_picture(rgb)
        small, order = cut_out(rgb, self.crop_box(*rgb.shape[:2]), self.size)
        channels = (small,) if small.ndim == 2 else cv2.split(small)
        for plane, channel, scale, offset in zip(planes, order, self._scale, self._offset, strict=True):
            np.multiply(channels[channel], scale, out=plane, dtype=np.float32)
            np.add(plane, offset, out=plane)


def _check_picture(rgb: NDArray[np.uint8]) -> None:
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        got = f'{rgb.dtype} {list(rgb.shape)}' if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise ValueError(f'a picture must be a uint8 array [height, width, 3] in RGB order, got {got}')
    if 0 in rgb.shape:
        raise ValueError(f'a picture must have at least one pixel, got {rgb.shape[0]}x{rgb.shape[1]}')


def _check_out(out: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    ok = isinstance(out, np.ndarray) and out.dtype == np.float32 and out.shape == shape
    if not (ok and out.flags.c_contiguous and out.flags.writeable):
        got = f'{out.dtype} {list(out.shape)}' if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f'out must be a writable, C-contiguous float32 array {list(shape)}, got {got}')


def _pixels(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= 8192:
        raise ValueError(
            f'preprocessing: {key} must be a whole number of pixels from 1 to 8192, got {value!r}'
        )
    return int(value)


def _sides(value: Any) -> tuple[int, int]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise ValueError(f'preprocessing: size must be one number or (height, width), got {value!r}')
        return _pixels('size', value[0]), _pixels('size', value[1])
    side = _pixels('size', value)
    return side, side


def _channels(key: str, value: Any) -> tuple[float, float, float]:
    wrong = f'preprocessing: {key} must be three finite numbers (R, G, B), got {value!r}'
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise ValueError(wrong)
    numbers = tuple(value)
    if len(numbers) != 3:
        raise ValueError(wrong)
    if any(
        isinstance(n, bool) or not isinstance(n, (int, float, np.number)) or not isfinite(n) for n in numbers
    ):
        raise ValueError(wrong)
    return float(numbers[0]), float(numbers[1]), float(numbers[2])
