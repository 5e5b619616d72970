"""The picture files of a data set, in a folder or in a zip: ``<split>/<class>/<picture>``."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

__all__ = ['DataError', 'PictureFiles', 'decode']

SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp')


class DataError(ValueError):
    """The data set cannot be used as it is; the message names the folder and says what should be there."""


class PictureFiles:
    """The files of one data set; a zip stays open: opening it costs more than reading a picture.

    Several threads may read at a time. Raises DataError where there is neither a folder nor a zip.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self._archive: zipfile.ZipFile | None = None
        if source.is_dir():
            entries = list(_entries(source, 3))
        elif zipfile.is_zipfile(source):
            self._archive = zipfile.ZipFile(source)
            entries = self._archive.namelist()
        else:
            raise DataError(f'{source}: neither a folder nor a zip file')
        # Split -> class -> names of its files; a class folder without pictures is kept: it must show.
        self.listing: dict[str, dict[str, list[str]]] = {}
        for entry in entries:
            parts = entry.split('/')
            if len(parts) != 3 or parts[0].startswith(('.', '__')) or parts[1].startswith('.'):
                continue
            names = self.listing.setdefault(parts[0], {}).setdefault(parts[1], [])
            if parts[2].lower().endswith(SUFFIXES) and not parts[2].startswith('.'):
                names.append(entry)

    def labels(self) -> tuple[str, ...]:
        """The classes' names; DataError where there are none or where the splits differ in them."""
        if not self.listing:
            raise DataError(f'{self.source}: no pictures found; expected <split>/<class>/<picture>.jpg')
        first, *others = sorted(self.listing)
        for other in others:
            odd = sorted(set(self.listing[first]) ^ set(self.listing[other]))
            if odd:
                raise DataError(
                    f'{self.source}: the splits {first!r} and {other!r} differ in their class folders: '
                    f'{", ".join(odd)} in one of them only; every split needs every class'
                )
        return tuple(sorted(self.listing[first]))

    def picture(self, name: str) -> np.ndarray | None:
        """The picture in a file, as `decode` returns it."""
        if self._archive is None:
            return decode((self.source / name).read_bytes())
        try:
            return decode(self._archive.read(name))
        except zipfile.BadZipFile:  # this member's checksum is wrong; the others may be fine
            return None


def decode(data: bytes) -> np.ndarray | None:
    """The picture in an encoded file as RGB [H, W, 3] uint8, upright; None where it is broken or cut off."""
    if not data:
        return None
    if data[:2] == b'\xff\xd8' and data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda'):
        # A JPEG without end marker after its last scan: the decoder would fill the rest with grey.
        return None
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _entries(folder: Path, depth: int, prefix: str = '') -> Iterator[str]:
    """The paths below a folder as a zip has them, down to `depth`; links are followed."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield f'{prefix}{path.name}/'
            if depth > 1:
                yield from _entries(path, depth - 1, f'{prefix}{path.name}/')
        else:
            yield f'{prefix}{path.name}'
