"""JPEG and PNG files before they are decoded: how large the picture would be, and only what makes it up.

A JPEG of 2.6 MB can hold 8500x8146 pixels and take a second to decode, so the size is read first. And a
decoder is given nothing but the parts that it needs for the picture: EXIF, text, profiles and animation are
left out, because decoders crash on them (OpenCV 5.0 on a damaged animated PNG). Each step of the reader moves
forward, and nothing but ImageError is raised whatever the bytes are.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from impatient_ros.images.errors import ImageError

__all__ = ['ImageFile', 'read_image_file']

_JPEG = b'\xff\xd8'
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# Start of frame, baseline to arithmetic lossless; C4, C8 and CC are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Comments and application data; JFIF (E0) and Adobe (EE) say what the colours mean and stay.
_COMMENTS = frozenset({0xFE, *range(0xE0, 0xF0)}) - {0xE0, 0xEE}

_PNG = b'\x89PNG\r\n\x1a\n'
_PNG_PICTURE = frozenset({b'IHDR', b'PLTE', b'IDAT', b'IEND'})


@dataclass(frozen=True)
class ImageFile:
    """What the file says it holds, and the file without anything else."""

    codec: str  # jpeg, png
    width: int
    height: int
    grey: bool
    scans: int = 1  # passes over the picture, progressive JPEG
    data: bytes = field(default=b'', repr=False, compare=False)


def read_image_file(data: bytes) -> ImageFile:
    """Raises ImageError: data, format, header, size, truncated, decode."""
    if not data:
        raise ImageError('data', 'the message has no data')
    if data.startswith(_JPEG):
        file = _jpeg(data)
    elif data.startswith(_PNG):
        file = _png(data)
    else:
        raise ImageError('format', f'the data is neither JPEG nor PNG, it starts with {data[:8].hex(" ")}')
    if file.width == 0 or file.height == 0:
        raise ImageError('size', f'the {file.codec} is {file.width}x{file.height} pixels: neither may be 0')
    return file


def _jpeg(data: bytes) -> ImageFile:
    position, frame, parts = len(_JPEG), None, [_JPEG]
    while True:
        marker, start, end = _segment(data, position)
        if marker == _SOS:
            break
        if marker in _FRAMES:
            if frame is not None:
                raise ImageError('header', 'the JPEG has two frame headers')
            if end - start < 6:
                raise ImageError('header', 'the JPEG frame header is too short')
            frame = data[start : start + 6]  # precision, height (2), width (2), components
        if marker not in _COMMENTS:
            parts.append(data[position:end])
        position = end
    if frame is None:
        raise ImageError('header', 'the JPEG has no frame header before its data')
    # Within the entropy coded data 0xFF is followed by 0, so that these two are markers and nothing else.
    # Without the second libjpeg would make the missing part grey and report success.
    last = data.rfind(b'\xff\xd9', end)
    if last < 0:
        raise ImageError('truncated', f'the JPEG ends after {len(data)} bytes without its end marker')
    parts.append(data[position : last + 2])
    return ImageFile(
        'jpeg',
        width=int.from_bytes(frame[3:5], 'big'),
        height=int.from_bytes(frame[1:3], 'big'),
        grey=frame[5] == 1,
        scans=1 + data.count(b'\xff\xda', end),
        data=b''.join(parts),
    )


def _segment(data: bytes, position: int) -> tuple[int, int, int]:
    """The marker at `position` and where its content starts and ends."""
    while data[position : position + 2] == b'\xff\xff':  # fill bytes
        position += 1
    if position + 4 > len(data):
        raise ImageError('truncated', f'the JPEG ends after {len(data)} bytes, within its header')
    if data[position] != 0xFF:
        raise ImageError('header', f'the JPEG has no marker at byte {position} of its header')
    marker = data[position + 1]
    if marker in (0x00, 0x01, _SOI, _EOI) or 0xD0 <= marker <= 0xD7:
        raise ImageError('header', f'the JPEG has the marker {marker:#04x} at byte {position} of its header')
    end = position + 2 + int.from_bytes(data[position + 2 : position + 4], 'big')
    if end < position + 4:
        raise ImageError('header', f'the JPEG has a segment of impossible length at byte {position}')
    if end > len(data):
        raise ImageError('truncated', f'the JPEG ends after {len(data)} bytes, within its header')
    return marker, position + 4, end


def _png(data: bytes) -> ImageFile:
    # signature (8), then chunks of length (4), type (4), content, checksum (4); the first is
    # width (4), height (4), depth, colour type, compression, filter, interlace
    if len(data) < 33:
        raise ImageError('truncated', f'the PNG ends after {len(data)} bytes, within its header')
    if data[8:16] != b'\x00\x00\x00\rIHDR':
        raise ImageError('header', 'the PNG does not start with its header (IHDR)')
    position, kind, parts = len(_PNG), b'', [_PNG]
    while kind != b'IEND':
        kind = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4], 'big')
        if len(kind) < 4 or end > len(data):
            raise ImageError('truncated', f'the PNG ends after {len(data)} bytes without its end (IEND)')
        if kind in _PNG_PICTURE:
            if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], 'big'):
                raise ImageError('decode', f'the PNG is damaged at byte {position}: wrong checksum')
            parts.append(data[position:end])
        position = end
    return ImageFile(
        'png',
        width=int.from_bytes(data[16:20], 'big'),
        height=int.from_bytes(data[20:24], 'big'),
        grey=data[25] in (0, 4),
        data=b''.join(parts),
    )
