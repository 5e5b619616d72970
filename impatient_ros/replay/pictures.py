"""A folder of pictures, or a single one, as a source."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import cv2

from impatient_ros.images.compressed import decode_file
from impatient_ros.images.errors import ImageError
from impatient_ros.images.picture_files import PICTURE_SUFFIXES, read_picture_file
from impatient_ros.replay.frame import CompressedFrame, RawFrame, Source, SourceError, SourceFrame, bgr_frame

__all__ = ['PICTURE_SUFFIXES', 'Pictures', 'picture_files']

PICTURE_RATE = 10.0  # Hz; pictures have no rate of their own

# The formats that sensor_msgs/CompressedImage names; other files are sent as JPEG.
SENT_AS_THEY_ARE = {'.jpg': 'jpeg', '.jpeg': 'jpeg', '.png': 'png'}

logger = logging.getLogger(__name__)


def picture_files(folder: Path) -> tuple[list[Path], int]:
    """The pictures in `folder` and below, `frame2` before `frame10`, and how many other files there are.

    Links to folders are followed; a link that leads nowhere is a file, which cannot be read.
    """
    files = sorted(_files(folder), key=_natural)
    pictures = [path for path in files if path.suffix.lower() in PICTURE_SUFFIXES]
    return pictures, len(files) - len(pictures)


class Pictures(Source):
    """Pictures in the order of their names, ten per second; the name is the path below the folder.

    With transport 'compressed' JPEG and PNG files are sent as they are. EXIF orientation is ignored in both
    transports, as it is in a camera's messages. A file that cannot be decoded is
    skipped, logged once and counted in `skipped`.
    """

    def __init__(self, place: Path, transport: str = 'raw') -> None:
        if place.is_dir():
            self.folder = place
            self.files, self.skipped = picture_files(place)
        else:
            self.folder, self.files = place.parent, [place]
        if not self.files:
            raise SourceError(f'{place} holds no pictures ({", ".join(PICTURE_SUFFIXES)})')
        self.transport = transport
        self.length = len(self.files)
        self.description = f'{self.length} picture{"s" if self.length > 1 else ""} from {place}'
        self._broken: set[Path] = set()

    def frames(self) -> Iterator[SourceFrame]:
        """Raises SourceError if not one of the pictures can be decoded."""
        shown = 0
        for path in self.files:
            image = None if path in self._broken else self._read(path)
            if image is None:
                continue
            name = path.relative_to(self.folder).as_posix()
            yield SourceFrame(image, shown / PICTURE_RATE, name=name)
            shown += 1
        if not shown:
            raise SourceError(f'none of the {len(self.files)} pictures in {self.folder} can be decoded')

    def _read(self, path: Path) -> RawFrame | CompressedFrame | None:
        try:
            data = read_picture_file(path)
            picture = decode_file(data)[:, :, ::-1]
        except (OSError, ImageError) as error:
            logger.warning('skipping %s: it cannot be decoded as a picture: %s', path, error)
            self._broken.add(path)
            self.skipped += 1
            return None
        if self.transport == 'raw':
            return bgr_frame(picture)
        if kind := SENT_AS_THEY_ARE.get(path.suffix.lower()):
            return CompressedFrame(kind, data)
        encoded = cv2.imencode('.jpg', picture)[1]
        return CompressedFrame('jpeg', encoded.tobytes())


def _files(folder: Path) -> Iterator[Path]:
    """All but hidden ones; a folder that several links lead to is visited once."""
    visited: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        found = os.stat(place)
        if (found.st_dev, found.st_ino) in visited:
            folders.clear()
            continue
        visited.add((found.st_dev, found.st_ino))
        folders[:] = [name for name in folders if not name.startswith('.')]
        yield from (Path(place) / name for name in names if not name.startswith('.'))


def _unreadable(error: OSError) -> None:
    logger.warning('skipping the folder %s: %s', error.filename, error.strerror)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts runs of digits by their value: every part is (value, text), text parts have the value -1."""
    parts = re.findall(r'\d+|\D+', path.as_posix())
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]
