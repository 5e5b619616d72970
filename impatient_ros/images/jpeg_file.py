"""A JPEG before it is decoded: its size, and nothing but what makes up its picture.

A file ends at its end marker (EOI): what phones and depth cameras append (a film, a gain map, further
pictures) is never looked at. The reader walks from marker to marker; how far it goes is limited by the number
of segments and by the picture's own dimensions.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from impatient_ros.images.errors import ImageError
from impatient_ros.images.image_file import MAX_PIXELS, ImageFile, check_pixels

__all__ = ['JPEG_SIGNATURE', 'read_jpeg']

JPEG_SIGNATURE = b'\xff\xd8'

MAX_SEGMENTS = 1000
"""A photograph has ten. Extended XMP (depth maps, gain maps) takes one per 64 KB: 1000 hold 64 MB of it."""

MAX_TABLES = 2**20
"""Bytes of header for the decoder. Tables take 2 KB, a thumbnail in JFIF up to 64 KB."""

MAX_SCANS = 20
"""A progressive JPEG usually has ten. Each passes over the whole picture: thousands fit into a small file."""

SCANNED_PIXELS_PER_LIMIT = 4
"""Pixels times scans, in units of the limit of pixels: 25 million pixels in ten scans."""

BYTES_PER_PIXEL = 8
"""White noise at quality 100 without subsampling takes 4.1 (cv2.imencode, 512x512)."""

_SMALL = 2**16  # bytes that any picture may take: tables between scans, blocks that are larger than it

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# Start of frame, baseline to arithmetic lossless; C4, C8 and CC are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Comments and application data; JFIF (E0) and Adobe (EE) say what the colours mean and stay.
_COMMENTS = frozenset({0xFE, *range(0xE0, 0xF0)}) - {0xE0, 0xEE}
# Without content; none of them has a place in front of the scans. 0xFF: too many fill bytes.
_ALONE = frozenset({0x00, 0x01, _SOI, _EOI, 0xFF, *range(0xD0, 0xD8)})

_FILL = re.compile(rb'\xff{1,8192}')  # a marker is 0xFF and a byte; further 0xFF may stand in front


def read_jpeg(data: memoryview, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Raises ImageError: header, size, too_large, truncated."""
    position, frame, parts, kept = len(JPEG_SIGNATURE), None, [memoryview(JPEG_SIGNATURE)], 0
    for _ in range(MAX_SEGMENTS):
        marker, start, end = _segment(data, position)
        if marker == _SOS:
            break
        if marker in _FRAMES:
            if frame is not None:
                raise ImageError('header', 'the JPEG has two frame headers')
            if end - start < 6:
                raise ImageError('header', 'the JPEG frame header is too short')
            frame = data[start : start + 6]  # precision, height (2), width (2), components
            check_pixels('jpeg', *_size(frame), max_pixels)
        if marker not in _COMMENTS:
            parts.append(data[position:end])
            kept += end - position
            if kept > MAX_TABLES:
                raise ImageError('too_large', f'the JPEG has more than {MAX_TABLES} bytes of tables')
        position = end
    else:
        raise ImageError('too_large', f'the JPEG has more than {MAX_SEGMENTS} segments before its picture')
    if frame is None:
        raise ImageError('header', 'the JPEG has no frame header before its data')
    width, height = _size(frame)
    most_scans = min(MAX_SCANS, max(1, SCANNED_PIXELS_PER_LIMIT * max_pixels // (width * height)))
    parts.append(data[position : _end(data, end, _most_bytes(width, height), most_scans)])
    return ImageFile('jpeg', width, height, grey=frame[5] == 1, data=b''.join(parts))


def _size(frame: memoryview) -> tuple[int, int]:
    return int.from_bytes(frame[3:5], 'big'), int.from_bytes(frame[1:3], 'big')


def _most_bytes(width: int, height: int) -> int:
    """More than a picture of that size takes, whatever it shows; blocks reach up to 32 pixels outside."""
    return _SMALL + BYTES_PER_PIXEL * (width + 31) * (height + 31)


def _end(data: memoryview, position: int, most_bytes: int, most_scans: int) -> int:
    """Where the picture ends, behind its end marker; `position` is in the first scan.

    Without an end marker libjpeg would make the missing part grey and report success.
    """
    stop, scans = min(len(data), position + most_bytes), 1
    octets = np.frombuffer(data, np.uint8)
    for _ in range(MAX_SEGMENTS):
        found = _next_marker(octets, position, stop)
        if found is None:
            break
        position, marker = found, data[found + 1]
        if marker == _EOI:
            return position + 2
        if marker == _SOS:
            scans += 1
            if scans > most_scans:
                raise ImageError(
                    'too_large', f'the JPEG has more than {most_scans} scans, the limit for its size'
                )
        elif marker in _FRAMES:
            raise ImageError('header', 'the JPEG has two frame headers')
        _, _, position = _segment(data, position)
    else:
        raise ImageError('too_large', f'the JPEG has more than {MAX_SEGMENTS} segments in its picture')
    if stop < len(data):
        raise ImageError(
            'too_large', f'the JPEG has no end within the {most_bytes} bytes that its size can take'
        )
    raise ImageError('truncated', f'the JPEG ends after {len(data)} bytes without its end marker')


def _next_marker(octets: NDArray[np.uint8], position: int, stop: int) -> int | None:
    """Where the entropy coded data from `position` on ends: what takes equally long whatever it is."""
    length = 2**12
    while position + 1 < stop:
        part = octets[position : min(stop, position + length + 1)]
        second = part[1:]
        # 0xFF is followed by 0 or is a restart marker or fills: all else ends the data. 0 - 1 is 255.
        hits = (part[:-1] == 0xFF) & (second - 1 < 0xFE) & (second & 0xF8 != 0xD0)
        first = int(hits.argmax())
        if hits[first]:
            return position + first
        position += len(second)
        length = min(2 * length, 2**18)  # few steps, each within the processor's cache
    return None


def _segment(data: memoryview, position: int) -> tuple[int, int, int]:
    """The marker at `position` and where its content starts and ends."""
    if fill := _FILL.match(data, position):
        position = fill.end() - 1
    if position + 4 > len(data):
        raise ImageError('truncated', f'the JPEG ends after {len(data)} bytes, within its header')
    if data[position] != 0xFF:
        raise ImageError('header', f'the JPEG has no marker at byte {position} of its header')
    marker = data[position + 1]
    if marker in _ALONE:
        raise ImageError('header', f'the JPEG has the marker {marker:#04x} at byte {position} of its header')
    end = position + 2 + int.from_bytes(data[position + 2 : position + 4], 'big')
    if end < position + 4:
        raise ImageError('header', f'the JPEG has a segment of impossible length at byte {position}')
    if end > len(data):
        raise ImageError('truncated', f'the JPEG ends after {len(data)} bytes, within its header')
    return marker, position + 4, end
