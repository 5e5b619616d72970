"""The picture files of a data set, in a folder or in a zip: ``<split>/<class>/<picture>``."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from impatient_ros.images.compressed import decode_file
from impatient_ros.images.errors import ImageError
from training.data.orientation import is_to_be_turned

__all__ = ['DataError', 'PictureFiles', 'decode']

log = logging.getLogger(__name__)

SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp')


class DataError(ValueError):
    """The data set cannot be used as it is; the message names the folder and says what should be there."""


class PictureFiles:
    """The files of one data set; a zip stays open: opening it costs more than reading a picture.

    Several threads may read at a time, and processes: each opens the zip for itself, since forked
    ones would share one position in it. Raises DataError where there is neither a folder nor a zip.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self._archives: dict[int, zipfile.ZipFile] = {}  # by process
        self._zipped = not source.is_dir()
        self._warned = False
        if not self._zipped:
            entries = list(_entries(source, 3))
        elif zipfile.is_zipfile(source):
            entries = self._archive().namelist()
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

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_archives': {}}  # an open file cannot go to another process

    def _archive(self) -> zipfile.ZipFile:
        process = os.getpid()
        if process not in self._archives:
            self._archives[process] = zipfile.ZipFile(self.source)
        return self._archives[process]

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
        """The picture in a file, as `decode` returns it; says so once where pictures are to be turned."""
        if not self._zipped:
            data = (self.source / name).read_bytes()
        else:
            try:
                data = self._archive().read(name)
            except zipfile.BadZipFile:  # this member's checksum is wrong; the others may be fine
                return None
        if not self._warned and is_to_be_turned(data):
            self._warned = True
            log.warning(
                '%s: %s and perhaps others have an EXIF orientation, which is ignored, as it is in a '
                "camera's messages: where they were meant to be turned, turn them for good "
                '(mogrify -auto-orient)',
                self.source,
                name,
            )
        return decode(data)


def decode(data: bytes) -> np.ndarray | None:
    """The picture in an encoded file as RGB [H, W, 3] uint8; None where it is broken or cut off.

    It is what the node would see in a message with this file: EXIF orientation is ignored.
    """
    try:
        return np.ascontiguousarray(decode_file(data))
    except ImageError:
        return None


def _entries(folder: Path, depth: int, prefix: str = '') -> Iterator[str]:
    """The paths below a folder as a zip has them, down to `depth`; links are followed."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield f'{prefix}{path.name}/'
            if depth > 1:
                yield from _entries(path, depth - 1, f'{prefix}{path.name}/')
        else:
            yield f'{prefix}{path.name}'
