"""Sixteen bits per sample -> eight, by the range that the sensor fills."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ['to_eight_bits']

SENSOR_BITS = (10, 12, 14, 16)


def to_eight_bits(words: NDArray[Any], brightest: int) -> NDArray[Any]:
    """uint16 in any byte order, [H, W] or [H, W, C] -> uint8 alike: value * 255 / full scale, rounded.

    A sensor of 10, 12 or 14 bits that does not shift its values to the top would look black (14 bits: at most
    63 of 255). Full scale is that of the smallest such sensor which can have sent `brightest`, the largest
    value of the whole picture: the scale depends on one pixel, not on how bright the rest is, and takes four
    values. So a camera of 16 bits in the dark (nothing above 16383) is brightened by 4 or more.
    """
    bits = next(bits for bits in SENSOR_BITS if brightest < 2**bits)
    # OpenCV reads native, aligned words; a camera's odd step or byte order costs a copy.
    native = np.require(words, np.uint16, ['C_CONTIGUOUS', 'ALIGNED'])
    return cv2.convertScaleAbs(native, alpha=255 / (2**bits - 1)).reshape(words.shape)
