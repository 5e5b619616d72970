"""JPEG and PNG files before they are decoded: how large the picture would be, and only what makes it up.

A JPEG of 2.6 MB can hold 8500x8146 pixels and take a second to decode, so the size is read first, and all
further work is limited by it. And a decoder is given nothing but the parts that it needs for the picture:
EXIF, text, profiles and animation are left out, because decoders crash on them (OpenCV 5.0 on a damaged
animated PNG). Nothing but ImageError is raised whatever the bytes are.
"""

from __future__ import annotations

from impatient_ros.images.errors import ImageError
from impatient_ros.images.image_file import MAX_PIXELS, ImageFile
from impatient_ros.images.jpeg_file import JPEG_SIGNATURE, read_jpeg
from impatient_ros.images.png_file import PNG_SIGNATURE, read_png

__all__ = ['is_jpeg_or_png', 'read_image_file']


def is_jpeg_or_png(data: bytes | memoryview) -> bool:
    """By the first bytes."""
    return bytes(data[: len(PNG_SIGNATURE)]).startswith((JPEG_SIGNATURE, PNG_SIGNATURE))


def read_image_file(data: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Raises ImageError: data, format, header, size, too_large, truncated, decode."""
    if not data:
        raise ImageError('data', 'the message has no data')
    if not is_jpeg_or_png(data):
        raise ImageError('format', f'the data is neither JPEG nor PNG, it starts with {data[:8].hex(" ")}')
    view = memoryview(data)
    return read_png(view, max_pixels) if view[:1] == PNG_SIGNATURE[:1] else read_jpeg(view, max_pixels)
