"""A converter of images that is not ours: a distribution's cv_bridge, handed in from impatient_ros/ros/."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impatient_ros.images.errors import ImageError, shortened

__all__ = ['Converter']

_log = logging.getLogger(__name__)

MAX_FAILED = 50
"""Encodings that are remembered and logged, more than there are: new names without end fill nothing."""


class Converter:
    """Calls a function that makes an RGB picture of an Image message, and remembers where it failed.

    Args:
        convert: Image message -> uint8 [H, W, 3] in RGB order; any exception: it cannot.
    """

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        self._convert = convert
        self._failed: set[str] = set()

    def has_failed(self, encoding: str) -> bool:
        """Whether an image of that encoding could not be converted before."""
        return encoding in self._failed

    def __call__(self, message: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The picture in `message`, uint8 [*size, 3]. Raises ImageError, and logs it once per encoding."""
        try:
            rgb = self._convert(message)
            if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.shape != (*size, 3):
                what = f'{rgb.dtype} {rgb.shape}' if isinstance(rgb, np.ndarray) else type(rgb).__name__
                raise ValueError(f'it returned {what} instead of uint8 {(*size, 3)}')
        except Exception as error:
            # A converter repeats an encoding that it does not know, however long the name is.
            name, why = shortened(message.encoding), shortened(str(error))
            if message.encoding not in self._failed and len(self._failed) < MAX_FAILED:
                self._failed.add(message.encoding)
                _log.warning('cv_bridge cannot convert %s: %s(%s)', name, type(error).__name__, why)
            raise ImageError('decode', f'cv_bridge cannot convert {name}: {why}') from error
        return rgb
