"""sensor_msgs/CompressedImage -> RGB: JPEG and PNG, their size checked before they are decoded.

What the data *is* decides, not what `format` says: drivers write "jpg", "jpeg", "rgb8; jpeg compressed
bgr8" or nothing. `format` is read for two things only, as compressed_image_transport does:
"compressedDepth" is no picture, and "... compressed rgb8" means that red and blue were swapped before
compressing.

A picture is taken as it is: EXIF orientation is ignored, as cameras on robots send none that is meant. The
same holds for picture files that are replayed or learned from (`decode_file`): a network sees what it
has learned.

Known limit: damage in the middle of a JPEG that leaves its structure intact cannot be told from a picture
(libjpeg decodes it and writes a line to stderr, which no option of OpenCV stops).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from impatient_ros.images.encodings import DEPTH_IS_NO_PICTURE, is_depth
from impatient_ros.images.errors import ImageError, checked_region, shortened
from impatient_ros.images.file_headers import is_jpeg_or_png, read_image_file
from impatient_ros.images.image_file import MAX_PIXELS, ImageFile, check_pixels
from impatient_ros.images.picture_files import check_announced_size
from impatient_ros.images.sixteen_bits import to_eight_bits

__all__ = ['MAX_PIXELS', 'decode_compressed', 'decode_file']

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
    words = _described(message.format)
    return _picture(_bytes(message.data), roi, max_pixels, target_side, swapped=bool(_SWAPPED.search(words)))


def decode_file(data: bytes) -> NDArray[np.uint8]:
    """The picture in a file: JPEG, PNG, BMP, GIF, PNM, TIFF or WebP. uint8 [H, W, 3]; raises ImageError.

    JPEG and PNG are decoded as in messages. Only a TIFF is turned as it says: OpenCV and Pillow always do.
    """
    if is_jpeg_or_png(data) or not data:
        return _picture(data, None, MAX_PIXELS, None, swapped=False)
    check_announced_size(data)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    picture = _eight_bits(_opened(data, flags, f'file of {len(data)} bytes'))
    check_pixels('picture', picture.shape[1], picture.shape[0])
    return picture[:, :, ::-1]


def _described(format: object) -> str:
    """What the message says about its data; raises ImageError where that is no picture."""
    words = format[:200] if isinstance(format, str) else ''
    if 'compresseddepth' in words.lower() or is_depth(words.partition(';')[0].strip()):
        raise ImageError('format', f'format {shortened(words)} is {DEPTH_IS_NO_PICTURE}')
    return words.lower()


def _picture(
    data: bytes | memoryview,
    roi: Sequence[int] | None,
    max_pixels: int,
    target_side: int | None,
    *,
    swapped: bool,
) -> NDArray[np.uint8]:
    file = read_image_file(data, max_pixels)
    region = checked_region(roi, file.height, file.width)
    shrink = _shrink(file, region, target_side)
    picture = _decoded(file, shrink)
    y, x, h, w = region
    picture = picture[y // shrink : -(-(y + h) // shrink), x // shrink : -(-(x + w) // shrink)]
    if picture.ndim == 2:
        return np.broadcast_to(picture[:, :, None], (*picture.shape, 3))
    return picture if swapped else picture[:, :, ::-1]  # OpenCV decodes to BGR


def _shrink(file: ImageFile, region: tuple[int, int, int, int], target_side: int | None) -> int:
    if target_side is None or file.codec != 'jpeg':
        return 1
    shorter = min(region[2:])
    return next((n for n in (8, 4, 2) if shorter // n >= max(1, target_side)), 1)


def _decoded(file: ImageFile, shrink: int) -> NDArray[Any]:
    flags = (_GREY if file.grey else _COLOUR)[shrink] | cv2.IMREAD_IGNORE_ORIENTATION
    if file.codec == 'png':
        flags |= cv2.IMREAD_ANYDEPTH
    picture = _opened(file.data, flags, f'{file.codec} of {len(file.data)} bytes')
    if picture.shape[:2] != (-(-file.height // shrink), -(-file.width // shrink)):
        raise ImageError(
            'decode',
            f'the {file.codec} says {file.width}x{file.height} pixels but decodes to '
            f'{picture.shape[1]}x{picture.shape[0]}',
        )
    return _eight_bits(picture)


def _opened(data: bytes | bytearray, flags: int, what: str) -> NDArray[Any]:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        raise ImageError('decode', f'the {what} cannot be decoded: {error}') from error
    if picture is None:
        raise ImageError('decode', f'the {what} is damaged')
    return picture


def _eight_bits(picture: NDArray[Any]) -> NDArray[np.uint8]:
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype == np.uint16:
        return to_eight_bits(picture, int(picture.max()))
    raise ImageError('decode', f'the file holds numbers of type {picture.dtype}, not a picture')


def _bytes(data: Any) -> memoryview:
    try:
        return memoryview(data).cast('B')
    except TypeError as error:
        got = type(data).__name__
        raise ImageError('fields', f'data is a {got}, must be bytes, such as array.array') from error
