"""Picture files as they lie on a disk: which names they have, and reading them in bounded work.

Read like any other input that may be hostile: what is no regular file, or is larger than a picture can be, is
refused before it is read, and the size that a file announces is compared with the limit before it is decoded.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from pathlib import Path

from impatient_ros.images.errors import ImageError
from impatient_ros.images.image_file import MAX_PIXELS, check_pixels

__all__ = ['MAX_FILE', 'PICTURE_SUFFIXES', 'check_announced_size', 'read_picture_file']

PICTURE_SUFFIXES = (
    '.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm', '.pbm', '.gif',
)  # fmt: skip
MAX_FILE = 4 * MAX_PIXELS + 2**16
"""Bytes: the largest picture uncompressed, in RGBA."""

_PNM = re.compile(rb'P[1-6](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})[\s#]')
_WIDTH, _HEIGHT = 256, 257  # TIFF 6.0, section 8
_MOST_TAGS = 1000


def read_picture_file(path: Path) -> bytes:
    """The bytes of a file. Raises ImageError (data, too_large), OSError."""
    # Opening a FIFO for reading would otherwise wait for a writer.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), 'rb') as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ImageError('data', 'it is a pipe, a device or a folder, not a file')
        if found.st_size > MAX_FILE:
            raise ImageError('too_large', f'the file takes {found.st_size} bytes, the limit is {MAX_FILE}')
        return file.read(MAX_FILE)


def check_announced_size(data: bytes, limit: int = MAX_PIXELS) -> None:
    """Raises ImageError where a BMP, GIF, PNM, TIFF or WebP says it is too large, and for other formats."""
    for name, size_of in _SIZES.items():
        try:
            size = size_of(data)
        except struct.error as error:
            raise ImageError('truncated', f'the {name} ends within its header') from error
        if size is not None:
            check_pixels(name, *size, limit)
            return
    raise ImageError(
        'format', 'the file is none of JPEG, PNG, BMP, GIF, PNM, TIFF and WebP: convert it to one of them'
    )


def _bmp(data: bytes) -> tuple[int, int] | None:
    if not data.startswith(b'BM'):
        return None
    (header,) = struct.unpack_from('<I', data, 14)
    width, height = struct.unpack_from('<HH' if header == 12 else '<ii', data, 18)
    return abs(width), abs(height)  # negative: its rows begin at the top


def _gif(data: bytes) -> tuple[int, int] | None:
    return struct.unpack_from('<HH', data, 6) if data.startswith((b'GIF87a', b'GIF89a')) else None


def _pnm(data: bytes) -> tuple[int, int] | None:
    found = _PNM.match(data, 0, 4096)
    return None if found is None else (int(found[1]), int(found[2]))


def _tiff(data: bytes) -> tuple[int, int] | None:
    """Of the first picture, which is the one that is decoded."""
    order = {b'II*\0': '<', b'MM\0*': '>'}.get(data[:4])
    if order is None:
        return None
    (offset,) = struct.unpack_from(f'{order}I', data, 4)
    (count,) = struct.unpack_from(f'{order}H', data, offset)
    sides = {}
    for entry in range(min(count, _MOST_TAGS)):
        at = offset + 2 + 12 * entry
        tag, kind = struct.unpack_from(f'{order}HH', data, at)
        if tag in (_WIDTH, _HEIGHT):
            sides[tag] = struct.unpack_from(f'{order}H' if kind == 3 else f'{order}I', data, at + 8)[0]
    if len(sides) < 2:
        raise ImageError('header', 'the TIFF does not say how large it is')
    return sides[_WIDTH], sides[_HEIGHT]


def _webp(data: bytes) -> tuple[int, int] | None:
    """Of RFC 9649: lossy, lossless or extended."""
    if not data.startswith(b'RIFF') or data[8:12] != b'WEBP':
        return None
    kind = data[12:16]
    if kind == b'VP8 ':
        width, height = struct.unpack_from('<HH', data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b'VP8L':
        (bits,) = struct.unpack_from('<I', data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    low, high, low2, high2 = struct.unpack_from('<HBHB', data, 24)
    return (low | high << 16) + 1, (low2 | high2 << 16) + 1


_SIZES = {'BMP': _bmp, 'GIF': _gif, 'PNM': _pnm, 'TIFF': _tiff, 'WebP': _webp}
