"""The encodings of sensor_msgs/Image: how their bytes lie, and how they become RGB with OpenCV alone.

`ENCODINGS` maps a name of sensor_msgs/image_encodings to an `Encoding`. Conventions where the name leaves
room:

- 8UC1, 8UC3, 8UC4 (and 16UC3, 16UC4) are read as mono, BGR, BGRA: OpenCV's order, as cv_bridge does.
- 16UC1, 32FC1 and their like are depth or other measurements (REP 118), no pictures: `is_depth`.
- 16 bits become 8 by the range of the sensor that can have sent them, 10, 12, 14 or 16 bits: `sixteen_bits`.
- YUV is ITU-R BT.601 with limited range, what cameras send and OpenCV and cv_bridge assume.
- Alpha is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from impatient_ros.images.sixteen_bits import to_eight_bits

__all__ = ['DEPTH_IS_NO_PICTURE', 'ENCODINGS', 'Encoding', 'Window', 'is_depth']

Picture = NDArray[Any]

DEPTH_IS_NO_PICTURE = (
    "depth or another measurement (REP 118), not a picture: name the camera's colour or infrared topic; "
    'brightness is published as mono8 or mono16'
)

_DEPTH = re.compile(r'(8S|16U|16S|16F|32S|32F|64F)C1?')


def is_depth(encoding: str) -> bool:
    """Whether an encoding is one number per pixel that is no brightness: 16UC1 (mm), 32FC1 (m) and so on."""
    return _DEPTH.fullmatch(encoding) is not None


@dataclass(frozen=True)
class Window:
    """A rectangle (y, x, h, w; pixels) of an Image message's memory."""

    memory: NDArray[np.uint8]  # [>= rows * step]
    step: int
    height: int  # of the whole picture
    width: int
    is_bigendian: bool
    y: int
    x: int
    h: int
    w: int

    def plane(self, channels: int, dtype: Any = np.uint8) -> Picture:
        """[h, w, channels] of packed pixels, without a copy."""
        word = np.dtype(dtype).itemsize
        offset = self.y * self.step + self.x * channels * word
        strides = (self.step, channels * word, word)
        return np.ndarray((self.h, self.w, channels), dtype, self.memory, offset, strides)


@dataclass(frozen=True)
class Encoding:
    """How one encoding lies in memory and how a window of it becomes RGB."""

    pixel_bytes: int  # per pixel, in a row of the first plane
    convert: Callable[[Window], Picture]  # -> uint8 [h, w, 3]
    align: tuple[int, int] = (1, 1)  # y, x: pixels that share samples; windows start and end on multiples
    margin: int = 0  # pixels around a window that its conversion looks at; a multiple of align
    smallest: int = 1  # width and height that can be converted
    even: tuple[bool, bool] = (False, False)  # must height, width be even
    half_rows: int = 2  # rows of `step` bytes in half the picture's rows: 3 for a second plane of half height
    convertible: bool = True  # is a distribution's cv_bridge preferred to `convert`

    def rows(self, height: int) -> int:
        """Rows of `step` bytes in the message."""
        return height * self.half_rows // 2


def _view(window: Window, channels: int, order: slice) -> Picture:
    return window.plane(channels)[:, :, order]


def _grey(plane: Picture) -> Picture:
    """[h, w] -> [h, w, 3] on the same memory."""
    return np.broadcast_to(plane[:, :, None], (*plane.shape, 3))


def _eight_bits(window: Window, channels: int) -> Picture:
    kind = '>u2' if window.is_bigendian else '<u2'
    # A region is scaled as the picture that it is cut from; alpha is no brightness.
    whole = replace(window, y=0, x=0, h=window.height, w=window.width).plane(channels, kind)
    return to_eight_bits(window.plane(channels, kind), int(whole[:, :, :3].max()))


def _words(window: Window, channels: int, order: slice) -> Picture:
    return _eight_bits(window, channels)[:, :, order]


def _mono8(window: Window) -> Picture:
    return _grey(window.plane(1)[:, :, 0])


def _mono16(window: Window) -> Picture:
    return _grey(_eight_bits(window, 1)[:, :, 0])


def _bayer8(window: Window, code: int) -> Picture:
    return cv2.cvtColor(window.plane(1)[:, :, 0], code)


def _bayer16(window: Window, code: int) -> Picture:
    return cv2.cvtColor(_eight_bits(window, 1)[:, :, 0], code)


def _yuv422(window: Window, code: int) -> Picture:
    return cv2.cvtColor(window.plane(2), code)


def _chroma(window: Window, rows_and_columns: int) -> Picture:
    """The second plane of an NV format, [h / n, w / n, 2], n = 2 (NV12, NV21) or 1 (NV24)."""
    n = rows_and_columns
    step = window.step * 2 // n  # two bytes per sample: a row of NV24 takes two steps
    offset = window.height * window.step + window.y // n * step + window.x // n * 2
    shape = (window.h // n, window.w // n, 2)
    return np.ndarray(shape, np.uint8, window.memory, offset, (step, 2, 1))


def _nv(window: Window, code: int) -> Picture:
    return cv2.cvtColorTwoPlane(window.plane(1)[:, :, 0], _chroma(window, 2), code)


# BT.601, limited range: (Y, Cb, Cr, 1) -> R, G, B
_YCBCR_TO_RGB = np.array(
    [
        [1.164, 0.0, 1.596, -16 * 1.164 - 128 * 1.596],
        [1.164, -0.391, -0.813, -16 * 1.164 + 128 * (0.391 + 0.813)],
        [1.164, 2.018, 0.0, -16 * 1.164 - 128 * 2.018],
    ]
)


def _nv24(window: Window) -> Picture:
    ycbcr = np.concatenate([window.plane(1), _chroma(window, 1)], axis=2)
    return cv2.transform(ycbcr, _YCBCR_TO_RGB)


_FORWARD, _REVERSED = slice(0, 3), slice(2, None, -1)

_RGB8 = Encoding(3, partial(_view, channels=3, order=slice(None)), convertible=False)
_BGR8 = Encoding(3, partial(_view, channels=3, order=slice(None, None, -1)), convertible=False)
_RGBA8 = Encoding(4, partial(_view, channels=4, order=_FORWARD), convertible=False)
_BGRA8 = Encoding(4, partial(_view, channels=4, order=_REVERSED), convertible=False)
_MONO8 = Encoding(1, _mono8, convertible=False)
# A distribution's cv_bridge takes 16 bits for granted: sensors of fewer would look black.
_MONO16 = Encoding(2, _mono16, convertible=False)
_RGB16 = Encoding(6, partial(_words, channels=3, order=_FORWARD), convertible=False)
_BGR16 = Encoding(6, partial(_words, channels=3, order=_REVERSED), convertible=False)
_RGBA16 = Encoding(8, partial(_words, channels=4, order=_FORWARD), convertible=False)
_BGRA16 = Encoding(8, partial(_words, channels=4, order=_REVERSED), convertible=False)
_UYVY = Encoding(2, partial(_yuv422, code=cv2.COLOR_YUV2RGB_UYVY), align=(1, 2), even=(False, True))
_YUYV = Encoding(2, partial(_yuv422, code=cv2.COLOR_YUV2RGB_YUY2), align=(1, 2), even=(False, True))


def _nv_half(code: int) -> Encoding:
    convert = partial(_nv, code=code)
    return Encoding(1, convert, align=(2, 2), even=(True, True), half_rows=3, convertible=False)


ENCODINGS = {
    'rgb8': _RGB8,
    'bgr8': _BGR8,
    'rgba8': _RGBA8,
    'bgra8': _BGRA8,
    'mono8': _MONO8,
    '8UC1': _MONO8,
    '8UC': _MONO8,
    '8UC3': _BGR8,
    '8UC4': _BGRA8,
    'mono16': _MONO16,
    'rgb16': _RGB16,
    'rgba16': _RGBA16,
    'bgr16': _BGR16,
    'bgra16': _BGRA16,
    '16UC3': _BGR16,
    '16UC4': _BGRA16,
    'uyvy': _UYVY,
    'yuv422': _UYVY,
    'yuyv': _YUYV,
    'yuv422_yuy2': _YUYV,
    'nv12': _nv_half(cv2.COLOR_YUV2RGB_NV12),
    'nv21': _nv_half(cv2.COLOR_YUV2RGB_NV21),
    'nv24': Encoding(1, _nv24, half_rows=6, convertible=False),
}

# The message names the first two rows' colours, OpenCV those of the second row and second column.
for _name, _code in {
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}.items():
    # Interpolation looks one pixel around; two keep the pattern's phase. OpenCV needs three pixels each way.
    for _bits, _size, _convert in ((8, 1, _bayer8), (16, 2, _bayer16)):
        ENCODINGS[f'bayer_{_name}{_bits}'] = Encoding(
            _size,
            partial(_convert, code=_code),
            align=(2, 2),
            margin=2,
            smallest=3,
            convertible=_bits == 8,
        )
