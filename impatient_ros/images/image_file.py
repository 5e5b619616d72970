"""What a JPEG or PNG file says it holds, and how large a picture may be."""

from __future__ import annotations

from dataclasses import dataclass, field

from impatient_ros.images.errors import ImageError

__all__ = ['MAX_PIXELS', 'ImageFile', 'check_pixels']

MAX_PIXELS = 64_000_000
"""200 MB, half a second of decoding (PNG: 1.4 s); above what any robot's camera sends."""


@dataclass(frozen=True)
class ImageFile:
    """What the file says it holds, and the file without anything else."""

    codec: str  # jpeg, png
    width: int
    height: int
    grey: bool
    data: bytes | bytearray = field(default=b'', repr=False, compare=False)


def check_pixels(what: str, width: int, height: int, limit: int = MAX_PIXELS) -> None:
    """Raises ImageError: size where there are no pixels, too_large where there are more than `limit`."""
    if width == 0 or height == 0:
        raise ImageError('size', f'the {what} is {width}x{height} pixels: neither may be 0')
    if width * height > limit:
        raise ImageError('too_large', f'the {what} has {width}x{height} pixels, the limit is {limit}')
