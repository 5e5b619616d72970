"""Whether a photograph says that it is to be turned before it is looked at (EXIF orientation)."""

from __future__ import annotations

import struct

__all__ = ['is_to_be_turned']

_ORIENTATION = 0x0112  # EXIF 2.3, 4.6.4; 1 is upright
_SEARCHED = 2**16  # bytes: EXIF comes first, but for JFIF's header
_MOST_ENTRIES = 200


def is_to_be_turned(data: bytes) -> bool:
    """Of a JPEG's bytes; False for other files and where the EXIF data is damaged."""
    start = data.find(b'Exif\0\0', 0, _SEARCHED) + 6
    order = {b'II': '<', b'MM': '>'}.get(data[start : start + 2])
    if data[:2] != b'\xff\xd8' or start < 6 or order is None:
        return False
    try:
        (offset,) = struct.unpack_from(f'{order}I', data, start + 4)
        (count,) = struct.unpack_from(f'{order}H', data, start + offset)
        for entry in range(min(count, _MOST_ENTRIES)):
            tag, _, _, value = struct.unpack_from(f'{order}HHIH', data, start + offset + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return 2 <= value <= 8
    except struct.error:
        pass  # it ends before what it announces
    return False
