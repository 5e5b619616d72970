"""A PNG before it is decoded: its size, and nothing but what makes up its picture.

A few bytes of a compressed stream can stand for a thousand times as many, and libpng inflates a stream to its
end however small the picture is. So the stream is inflated here, at most to what the picture's dimensions
need, and handed to the decoder uncompressed: inflating twice would cost more (640x480 RGB, 486 KB: 6.2 ms
in all, 5.3 without any check).
"""

from __future__ import annotations

import zlib

from impatient_ros.images.errors import ImageError
from impatient_ros.images.image_file import MAX_PIXELS, ImageFile, check_pixels

__all__ = ['PNG_SIGNATURE', 'read_png']

PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'

MAX_CHUNKS = 1000
"""That any picture may have, further ones by its size: encoders write a chunk per 8 KB or more."""

BYTES_PER_CHUNK = 1024
"""A picture may have a further chunk for as many bytes of pixels."""

BYTES_PER_PIXEL = 4
"""Bytes to inflate per pixel of the limit of pixels: RGBA of 8 bits."""

_SMALL = 2**16  # bytes of compressed data that any picture may have
_PIECE = 2**14  # bytes inflated at a time, to at most 17 MB
_KEPT = frozenset({b'IHDR', b'PLTE', b'IDAT', b'IEND'})
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type: grey, RGB, palette, grey and alpha, RGBA
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Adam7: the first column and row of each pass, and the steps between its columns and rows
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def read_png(data: memoryview, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Raises ImageError: header, size, too_large, truncated, decode."""
    # signature (8), then chunks of length (4), type (4), content, checksum (4); the first is
    # width (4), height (4), depth, colour type, compression, filter, interlace
    if len(data) < 33:
        raise ImageError('truncated', f'the PNG ends after {len(data)} bytes, within its header')
    if data[8:16] != b'\x00\x00\x00\rIHDR':
        raise ImageError('header', 'the PNG does not start with its header (IHDR)')
    width, height = int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')
    check_pixels('png', width, height, max_pixels)
    size = _inflated_bytes(width, height, *data[24:26], interlaced=data[28] == 1)
    if size > BYTES_PER_PIXEL * max_pixels:
        limit = BYTES_PER_PIXEL * max_pixels
        raise ImageError('too_large', f'the PNG has {size} bytes of pixels, the limit is {limit}')
    chunks = _chunks(data, size)
    for position, end in chunks:
        if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], 'big'):
            raise ImageError('decode', f'the PNG is damaged at byte {position}: wrong checksum')
    file = bytearray(data[:33])
    file += next((data[a:b] for a, b in chunks if data[a + 4 : a + 8] == b'PLTE'), b'')
    _add_pixels(file, [data[a + 8 : b - 4] for a, b in chunks if data[a + 4 : a + 8] == b'IDAT'], size)
    _add_chunk(file, b'IEND', b'')
    return ImageFile('png', width, height, grey=data[25] in (0, 4), data=file)


def _chunks(data: memoryview, size: int) -> list[tuple[int, int]]:
    """Where each chunk that the picture needs starts and ends; nothing is read but their heads."""
    most, most_compressed = MAX_CHUNKS + size // BYTES_PER_CHUNK, _SMALL + 2 * size
    position, compressed, chunks = len(PNG_SIGNATURE), 0, []
    for _ in range(most):
        kind = bytes(data[position + 4 : position + 8])
        end = position + 12 + int.from_bytes(data[position : position + 4], 'big')
        if len(kind) < 4 or end > len(data):
            raise ImageError('truncated', f'the PNG ends after {len(data)} bytes without its end (IEND)')
        if kind == b'IDAT':
            compressed += end - position
            if compressed > most_compressed:
                raise ImageError(
                    'too_large',
                    f'the PNG has over {most_compressed} bytes of IDAT for {size} of pixels',
                )
        if kind == b'PLTE' and end - position > 12 + 3 * 256:
            raise ImageError('header', 'the PNG has a palette of more than 256 colours')
        if kind in _KEPT:
            chunks.append((position, end))
        if kind == b'IEND':
            return chunks
        position = end
    raise ImageError('too_large', f'the PNG has more than {most} chunks, the limit for its size')


def _add_pixels(file: bytearray, streams: list[memoryview], size: int) -> None:
    """Inflate exactly `size` bytes; each piece gets a chunk, for a copy of all would cost memory."""
    inflate, store, left = zlib.decompressobj(), zlib.compressobj(0), size
    try:
        for stream in streams:
            for start in range(0, len(stream), _PIECE):
                pixels = inflate.decompress(stream[start : start + _PIECE], left + 1)
                left -= len(pixels)
                if left < 0:
                    raise ImageError('too_large', f'the PNG inflates to over {size} bytes, its pixels')
                _add_chunk(file, b'IDAT', store.compress(pixels))
    except zlib.error as error:
        raise ImageError('decode', f'the PNG is damaged: its data cannot be inflated ({error})') from error
    if left:
        raise ImageError('decode', f'the PNG is damaged: {left} of its {size} bytes of pixels are missing')
    _add_chunk(file, b'IDAT', store.flush())


def _inflated_bytes(width: int, height: int, depth: int, colour: int, *, interlaced: bool) -> int:
    """Bytes of a picture's pixels: in each row a byte that names its filter, then whole bytes."""
    if depth not in _DEPTHS.get(colour, ()):
        raise ImageError('decode', f'the PNG is damaged: no colour type {colour} has {depth} bits')
    bits = depth * _CHANNELS[colour]
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for x, y, step_x, step_y in passes:
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def _add_chunk(file: bytearray, kind: bytes, content: bytes) -> None:
    file += len(content).to_bytes(4, 'big') + kind
    file += content
    file += zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, 'big')
