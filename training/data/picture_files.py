"""The picture files of a data set, in a folder or in a zip: ``<split>/<class>/<picture>``.

A data set that is not divided, ``<class>/<picture>``, is one split, which is called train. Folders inside a
class are part of it. What is passed over is said: pictures that lie in no class, and files that are none by
their names.
"""

from __future__ import annotations

import logging
import os
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from impatient_ros.images.compressed import decode_file
from impatient_ros.images.errors import ImageError
from impatient_ros.images.picture_files import MAX_FILE, PICTURE_SUFFIXES, read_picture_file
from training.data.orientation import is_to_be_turned

__all__ = ['TRAIN', 'DataError', 'PictureFiles', 'decode', 'hidden', 'member_data']

log = logging.getLogger(__name__)

TRAIN = 'train'
# What the folders of a divided data set are usually called; where none is, pictures may lie in class folders.
SPLITS = {TRAIN, 'training', 'validation', 'val', 'valid', 'test', 'testing'}
READABLE = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
METHODS = {9: 'Deflate64', 93: 'Zstandard', 95: 'xz', 98: 'PPMd', 99: 'AES encryption'}  # APPNOTE 4.4.5


class DataError(ValueError):
    """The data set cannot be used as it is; the message names the folder and says what should be there."""


class PictureFiles:
    """The files of one data set; a zip stays open: opening it costs more than reading a picture.

    Several threads may read at a time, and processes: each opens the zip for itself, since forked
    ones would share one position in it. Raises DataError where there is neither a folder nor a zip, and for a
    zip that Python cannot read.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self._archives: dict[int, zipfile.ZipFile] = {}  # by process
        self._zipped = not source.is_dir()
        self._members: dict[str, zipfile.ZipInfo] = {}  # by their names in `listing`
        self._warned = False
        self._said: set[str] = set()  # splits of which it is said what is left out
        self._astray: dict[str, list[str]] = {}  # by split: pictures in no class
        self._others: dict[str, Counter[str]] = {}  # by split: how many files of which suffix are no pictures
        if not self._zipped:
            entries = list(_entries(source))
        elif source.is_file() and zipfile.is_zipfile(source):
            try:
                archive = self._archive()
            except (zipfile.BadZipFile, NotImplementedError) as error:
                raise DataError(f'{source}: a damaged zip file ({error}): pack it anew') from error
            self._members = _members(archive)
            entries = list(self._members)
            _check_readable(source, self._members.values())
        else:
            raise DataError(f'{source}: neither a folder nor a zip file')
        # Split -> class -> names of its files; a class folder without pictures is kept: it must show.
        self.listing: dict[str, dict[str, list[str]]] = {}
        self._sort_into(entries)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_archives': {}}  # an open file cannot go to another process

    def _archive(self) -> zipfile.ZipFile:
        process = os.getpid()
        if process not in self._archives:
            self._archives[process] = zipfile.ZipFile(self.source)
        return self._archives[process]

    def labels(self) -> tuple[str, ...]:
        """The classes' names, those of the split train where there is one. DataError where there are none."""
        if not self.listing:
            raise DataError(
                f'{self.source}: no pictures found; expected <class>/<picture>.jpg or '
                '<split>/<class>/<picture>.jpg'
            )
        return tuple(sorted(self.listing[self._leading]))

    def check_classes(self, split: str) -> None:
        """DataError where there is no such split or its classes are not `labels`."""
        labels = self.labels()
        if split not in self.listing:
            raise DataError(
                f'{self.source}: no split {split!r}; write one of {", ".join(sorted(self.listing))}'
            )
        if odd := sorted(set(labels) ^ set(self.listing[split])):
            raise DataError(
                f'{self.source}: the splits {self._leading!r} and {split!r} differ in their class folders: '
                f'{", ".join(odd)} in one of them only; both need every class'
            )

    def of(self, split: str) -> dict[str, list[str]]:
        """The files of each class of a split; logs what of it is left out, if nobody has asked for that yet.

        Raises as `check_classes`.
        """
        self.check_classes(split)
        for reason in [] if split in self._said else self.left_out(split):
            log.warning('%s: %s', self.source, reason)
        return self.listing[split]

    def left_out(self, split: str) -> list[str]:
        """What lies in a split's folder and is not read, and why, for people."""
        self._said.add(split)
        reasons = []
        if astray := self._astray.get(split):
            what = f'{astray[0]} and {len(astray) - 1} more' if astray[1:] else astray[0]
            reasons.append(f'left out, in no <split>/<class> folder: {what}')
        if others := self._others.get(split):
            kinds = ', '.join(f'{count} {suffix[:20]}' for suffix, count in others.most_common(5))
            reasons.append(f'{others.total()} files of {split} left out, no pictures: {kinds}')
        return reasons

    def picture(self, name: str) -> np.ndarray:
        """The picture in a file, RGB [H, W, 3] uint8; says so once where pictures are to be turned.

        Raises ImageError where it cannot be read.
        """
        data = self._data(name)
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

    @property
    def _leading(self) -> str:
        """The split whose classes count."""
        return TRAIN if TRAIN in self.listing else min(self.listing)

    def _data(self, name: str) -> bytes:
        try:
            if self._zipped:
                return member_data(self._archive(), self._members[name])
            return read_picture_file(self.source / name)
        except OSError as error:
            raise ImageError('data', f'{error.strerror}') from error

    def _sort_into(self, entries: list[str]) -> None:
        top = _top_folder(entries)
        paths = {entry: entry.removeprefix(top) for entry in entries if not hidden(entry.removeprefix(top))}
        undivided = _undivided(paths.values())
        for entry, path in paths.items():
            *folders, name = ([TRAIN] if undivided and '/' in path else []) + path.split('/')
            is_picture = name.lower().endswith(PICTURE_SUFFIXES)
            if len(folders) < 2:
                if is_picture:
                    self._astray.setdefault(folders[0] if folders else TRAIN, []).append(entry)
                continue
            # macOS writes letters with accents in two parts, others in one: the same class all the same.
            split, label = (unicodedata.normalize('NFC', each) for each in folders[:2])
            names = self.listing.setdefault(split, {}).setdefault(label, [])
            if is_picture:
                names.append(entry)
            elif name:
                self._others.setdefault(split, Counter())[PurePosixPath(name).suffix.lower() or name] += 1


def member_data(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """What is in a zip's picture file. Raises ImageError where it is damaged or too large, OSError."""
    if member.file_size > MAX_FILE:
        raise ImageError('too_large', f'the file takes {member.file_size} bytes, the limit is {MAX_FILE}')
    try:
        with archive.open(member) as file:  # which gives no more than the announced bytes
            return file.read()
    except OSError:
        raise
    except Exception as error:  # BadZipFile, zlib.error, LZMAError: each compression has its own
        raise ImageError('decode', f'it is damaged in the zip: {error}') from error


def hidden(name: str) -> bool:
    """Whether a zip's member or a folder's file, named with /, is one that nobody put there on purpose."""
    return any(part.startswith(('.', '__MACOSX')) for part in name.split('/'))


def decode(data: bytes) -> np.ndarray:
    """The picture in an encoded file as RGB [H, W, 3] uint8. Raises ImageError where it is broken or cut off.

    It is what the node would see in a message with this file: EXIF orientation is ignored.
    """
    return np.ascontiguousarray(decode_file(data))


def _entries(
    folder: Path, prefix: str = '', above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[str]:
    """The paths below a folder as a zip has them; links are followed, but not round in circles."""
    found = folder.stat()
    inside = above | {(found.st_dev, found.st_ino)}
    if len(inside) == len(above):
        log.warning('%s: left out, a link to a folder that it lies in', folder)
        return
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            yield f'{prefix}{path.name}'
            continue
        yield f'{prefix}{path.name}/'
        yield from _entries(path, f'{prefix}{path.name}/', inside)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by name, with / between folders, which programs on Windows do not always write."""
    members = archive.infolist()
    backslashes = not any('/' in member.filename for member in members)
    return {
        member.filename.replace('\\', '/') if backslashes else member.filename: member for member in members
    }


def _check_readable(source: Path, members: Any) -> None:
    for member in members:
        encrypted = member.flag_bits & 1
        if encrypted or (member.file_size and member.compress_type not in READABLE):
            method = METHODS.get(member.compress_type, f'method {member.compress_type}')
            how = 'encrypted' if encrypted else f'compressed with {method}'
            raise DataError(
                f'{source}: {member.filename} is {how}, which cannot be read here: unpack the zip (7z x) and '
                'name the folder, or pack it anew (zip -r)'
            )


def _undivided(paths: Iterable[str]) -> bool:
    """Whether pictures lie in class folders, without a folder for each split."""
    inside = [path.split('/') for path in paths if '/' in path]
    return not SPLITS & {folders[0].lower() for folders in inside} and any(
        len(folders) == 2 and folders[1].lower().endswith(PICTURE_SUFFIXES) for folders in inside
    )


def _top_folder(entries: list[str]) -> str:
    """The one folder in which all others lie, with its /; '' where the splits lie at the top."""
    visible = [entry for entry in entries if not entry.startswith(('.', '__MACOSX'))]
    tops = {entry.split('/')[0] for entry in visible}
    if len(tops) != 1:
        return ''
    (top,) = tops
    inside = {entry.split('/')[1] for entry in visible if entry.count('/') > 1}
    return f'{top}/' if top != TRAIN and TRAIN in inside else ''
