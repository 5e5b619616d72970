"""sensor_msgs/CompressedImage -> RGB: JPEG and PNG, their size checked before they are decoded.

What the data *is* decides, not what `format` says: drivers write "jpg", "jpeg", "rgb8; jpeg compressed
bgr8" or nothing. `format` is read for two things only, as compressed_image_transport does:
"compressedDepth" is no picture, and "... compressed rgb8" means that red and blue were swapped before
compressing.

Known limits: damage in the middle of a JPEG that leaves its structure intact cannot be told from a picture
(libjpeg decodes it and writes a line to stderr, which no option of OpenCV stops). EXIF orientation is
ignored: a frame is what the sensor saw. 16 bit PNG loses its low 8 bits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from impatient_ros.images.errors import ImageError, checked_region
from impatient_ros.images.file_headers import ImageFile, read_image_file

__all__ = ['MAX_PIXELS', 'decode_compressed']

MAX_PIXELS = 64_000_000
"""Half a second of decoding and 200 MB; above what any robot's camera sends."""

MAX_SCANS = 20
"""A progressive JPEG usually has ten. Each passes over the whole picture: thousands fit into a small file."""

_SWAPPED = re.compile(r'compressed\s+rgba?(8|16)\b')

_COLOUR = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4,
           8: cv2.IMREAD_REDUCED_COLOR_8}  # fmt: skip
_GREY = {1: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
         8: cv2.IMREAD_REDUCED_GRAYSCALE_8}  # fmt: skip


def decode_compressed(
    message: Any,
    roi: Sequence[int] | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    target_side: int | None = None,
) -> NDArray[np.uint8]:
    """The picture in a CompressedImage, or its region of interest (x, y, width, height). uint8 [H, W, 3]

    With `target_side` a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, which is faster, as long as the
    shorter side of what is returned keeps that many pixels; `roi` always counts pixels of the full size.
    Raises ImageError.
    """
    words = message.format.lower() if isinstance(message.format, str) else ''
    if 'compresseddepth' in words:
        raise ImageError('format', f'format {message.format!r} is depth, not a picture; send jpeg or png')
    file = read_image_file(_bytes(message.data))
    if file.width * file.height > max_pixels:
        raise ImageError(
            'too_large',
            f'the {file.codec} has {file.width}x{file.height} pixels, the limit is {max_pixels}',
        )
    if file.scans > MAX_SCANS:
        raise ImageError('too_large', f'the JPEG has {file.scans} scans, the limit is {MAX_SCANS}')
    region = checked_region(roi, file.height, file.width)
    shrink = _shrink(file, region, target_side)
    picture = _decoded(file, shrink)
    y, x, h, w = region
    picture = picture[y // shrink : -(-(y + h) // shrink), x // shrink : -(-(x + w) // shrink)]
    if picture.ndim == 2:
        return np.broadcast_to(picture[:, :, None], (*picture.shape, 3))
    return picture if _SWAPPED.search(words) else picture[:, :, ::-1]  # OpenCV decodes to BGR


def _shrink(file: ImageFile, region: tuple[int, int, int, int], target_side: int | None) -> int:
    if target_side is None or file.codec != 'jpeg':
        return 1
    shorter = min(region[2:])
    return next((n for n in (8, 4, 2) if shorter // n >= max(1, target_side)), 1)


def _decoded(file: ImageFile, shrink: int) -> NDArray[Any]:
    flags = (_GREY if file.grey else _COLOUR)[shrink] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(file.data, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        raise ImageError('decode', f'the {file.codec} cannot be decoded: {error}') from error
    if picture is None:
        raise ImageError('decode', f'the {file.codec} of {len(file.data)} bytes is damaged')
    if picture.shape[:2] != (-(-file.height // shrink), -(-file.width // shrink)):
        raise ImageError(
            'decode',
            f'the {file.codec} says {file.width}x{file.height} pixels but decodes to '
            f'{picture.shape[1]}x{picture.shape[0]}',
        )
    return picture


def _bytes(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    try:
        return bytes(memoryview(data))
    except TypeError as error:
        got = type(data).__name__
        raise ImageError('fields', f'data is a {got}, must be bytes, such as array.array') from error
