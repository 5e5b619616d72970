"""sensor_msgs Image and CompressedImage -> RGB uint8 [H, W, 3], without importing ROS.

    rgb = to_rgb(message)                                  # anything with the fields of sensor_msgs/Image
    rgb = to_rgb(message, roi=(x, y, width, height))
    rgb = decode_compressed(message)                       # the fields of sensor_msgs/CompressedImage

rgb8, bgr8, rgba8, bgra8 and mono8 come back as read-only views of the message's memory, which the view
keeps alive: BGR as a reversed view, grey as one plane seen three times. `images.preprocessing` reads such
views without copying them. All other encodings are converted, and only the region of interest is.

What the camera sent is not trusted: everything that does not fit together raises `ImageError` with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import index
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from impatient_ros.images.compressed import decode_compressed
from impatient_ros.images.converter import Converter
from impatient_ros.images.encodings import DEPTH_IS_NO_PICTURE, ENCODINGS, Encoding, Window, is_depth
from impatient_ros.images.errors import ImageError, checked_region, shortened
from impatient_ros.images.image_file import check_pixels

__all__ = ['Converter', 'ImageError', 'decode_compressed', 'to_rgb']


def to_rgb(
    message: Any, roi: Sequence[int] | None = None, *, converter: Converter | None = None
) -> NDArray[np.uint8]:
    """The picture in an Image message, or its region of interest (x, y, width, height). uint8 [H, W, 3]

    `converter` is preferred for encodings that need converting, until it fails for one: OpenCV converts that
    encoding from then on. It is also asked about encodings that are unknown here. Raises ImageError.
    """
    name = message.encoding
    encoding = ENCODINGS.get(name) if isinstance(name, str) else None
    if encoding is None:
        return _foreign(message, roi, converter)
    window = _checked(message, encoding)
    y, x, h, w = checked_region(roi, window.h, window.w)
    wide = _widened(window, encoding, y, x, h, w)
    rgb = _convert(message, encoding, wide, converter)
    rgb = rgb[y - wide.y : y - wide.y + h, x - wide.x : x - wide.x + w]
    rgb.flags.writeable = False
    return rgb


def _checked(message: Any, encoding: Encoding) -> Window:
    """The whole picture; raises ImageError where the message's fields disagree."""
    name, (width, height) = message.encoding, _size(message)
    step = _whole(message, 'step')
    if (height % 2 and encoding.even[0]) or (width % 2 and encoding.even[1]):
        raise ImageError('size', f'{name} pixels share colour in pairs: {width}x{height} must be even')
    if min(width, height) < encoding.smallest:
        smallest = encoding.smallest
        raise ImageError('size', f'{name} needs {smallest}x{smallest} pixels or more, got {width}x{height}')
    row = width * encoding.pixel_bytes
    if step < row:
        raise ImageError('step', f'step {step} is less than a row of {width} {name} pixels, {row} bytes')
    memory = _memory(message)
    rows = encoding.rows(height)
    if memory.size < step * rows:
        raise ImageError(
            'data',
            f'data has {memory.size} bytes, but {rows} rows of {step} bytes need {step * rows} '
            f'({name}, {width}x{height})',
        )
    check_pixels('picture', width, height)
    return Window(memory, step, height, width, bool(message.is_bigendian), 0, 0, height, width)


def _widened(whole: Window, encoding: Encoding, y: int, x: int, h: int, w: int) -> Window:
    """The region and the pixels around it that decide its colours when it is converted."""
    (rows, columns), margin = encoding.align, encoding.margin
    top = max(0, y // rows * rows - margin)
    left = max(0, x // columns * columns - margin)
    bottom = min(whole.h, -(-(y + h) // rows) * rows + margin)
    right = min(whole.w, -(-(x + w) // columns) * columns + margin)
    return replace(whole, y=top, x=left, h=bottom - top, w=right - left)


def _convert(
    message: Any, encoding: Encoding, window: Window, converter: Converter | None
) -> NDArray[np.uint8]:
    if converter is not None and encoding.convertible and not converter.has_failed(message.encoding):
        whole = (window.h, window.w) == (message.height, message.width)
        try:
            return converter(message if whole else _cut(message, encoding, window), (window.h, window.w))
        except ImageError:
            pass  # it has logged why
    try:
        return encoding.convert(window)
    except cv2.error as error:
        raise ImageError('decode', f'OpenCV cannot convert {message.encoding}: {error}') from error


def _cut(message: Any, encoding: Encoding, window: Window) -> Any:
    """A message that holds only the window: what a converter does has one plane of packed pixels."""
    pixels = np.ascontiguousarray(window.plane(encoding.pixel_bytes))
    return SimpleNamespace(
        header=getattr(message, 'header', None),
        encoding=message.encoding,
        height=window.h,
        width=window.w,
        step=window.w * encoding.pixel_bytes,
        is_bigendian=message.is_bigendian,
        data=pixels.tobytes(),
    )


def _foreign(message: Any, roi: Sequence[int] | None, converter: Converter | None) -> NDArray[np.uint8]:
    """An encoding that has no entry here: only a converter may know it."""
    name = message.encoding
    if isinstance(name, str) and is_depth(name):
        raise ImageError('encoding', f'encoding {name} is {DEPTH_IS_NO_PICTURE}')
    if converter is not None and isinstance(name, str):
        width, height = _size(message)
        check_pixels('picture', width, height)
        if _memory(message).size < max(1, _whole(message, 'step')) * height:
            raise ImageError('data', f'data has fewer bytes than {height} rows of {message.step} bytes')
        try:
            rgb = converter(message, (height, width))
        except ImageError as error:
            raise _unknown_encoding(name) from error
        y, x, h, w = checked_region(roi, height, width)
        return rgb[y : y + h, x : x + w]
    raise _unknown_encoding(name)


def _unknown_encoding(name: object) -> ImageError:
    accepted = ', '.join(sorted(ENCODINGS))
    return ImageError(
        'encoding', f'encoding {shortened(name)} is unknown or holds no picture; accepted are {accepted}'
    )


def _size(message: Any) -> tuple[int, int]:
    width, height = _whole(message, 'width'), _whole(message, 'height')
    if width == 0 or height == 0:
        raise ImageError('size', f'the picture is {width}x{height} pixels: neither may be 0')
    return width, height


def _whole(message: Any, field: str) -> int:
    value = getattr(message, field)
    try:
        number = index(value)
        if number < 0:
            raise ValueError('negative')
    except (TypeError, ValueError) as error:
        raise ImageError(
            'fields', f'{field} is {shortened(value)}, must be a whole number, 0 or more'
        ) from error
    return number


def _memory(message: Any) -> NDArray[np.uint8]:
    data = message.data
    try:
        return np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        got = type(data).__name__
        raise ImageError(
            'fields', f'data is a {got}, must be contiguous bytes, such as array.array'
        ) from error
