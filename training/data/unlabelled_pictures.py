"""Pictures that nobody has labelled: a folder or a zip of them, a recording or a video.

Of a recording or a video the last part, in time, is held out, since neighbouring frames show the same; of
single pictures some at random, the same ones every time.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from impatient_ros.images.errors import ImageError
from impatient_ros.images.picture_files import PICTURE_SUFFIXES, read_picture_file
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.images.raw import decode_compressed, to_rgb
from impatient_ros.replay.frame import RawFrame, SourceError
from impatient_ros.replay.pictures import picture_files
from training.data.labelled_pictures import Pictures, shrunk
from training.data.picture_files import DataError, decode, hidden, member_data
from training.terminal import in_parallel

__all__ = ['kept_side', 'read_unlabelled']

log = logging.getLogger(__name__)

HELD_OUT = 0.1  # of the pictures, where nothing else is said


def kept_side(preprocessing: Preprocessing, sizes: Sequence[int] = ()) -> int:
    """Shorter side at which pictures are kept, px: a quarter more than the network's input, or than `sizes`
    that it trains at, so that crops are not enlarged much.
    """
    return round(1.25 * max(preprocessing.resize, *sizes, 0))


def read_unlabelled(
    source: str | Path,
    labels: Sequence[str],
    *,
    shorter_side: int,
    hold_out: int = 0,
    limit: int | None = None,
) -> tuple[Pictures, Pictures]:
    """The pictures to learn from, and those held out; their `targets` mean nothing.

    Args:
        source: a folder (pictures at any depth, and in zips in it), a zip, a bag or a video.
        labels: of the network that answers for them.
        shorter_side: larger pictures are shrunk to it, px.
        hold_out: how many are held out; 0: a tenth.
        limit: how many to learn from, evenly spaced; default all. All of them are kept in memory, at
            `shorter_side`: a long recording needs a limit.

    Raises DataError where there are too few pictures. Those that cannot be read are left out and named.
    """
    path = Path(source).expanduser()
    files = picture_files(path)[0] if path.is_dir() else []
    zips = (
        [path]
        if path.is_file() and zipfile.is_zipfile(path)
        else sorted(each for each in path.rglob('*') if each.suffix.lower() == '.zip')
    )
    in_time = not files and not zips
    rejected: list[str] = []
    if in_time:
        found, held = _frames(path, shorter_side, hold_out, limit, rejected)
    else:
        found = list(_pictures(path, files, zips, shorter_side, rejected))
        held = _held(hold_out, len(found))
    if len(found) <= held:
        raise DataError(
            f'{source}: {len(found)} readable pictures, of which {held} are to be held out; add pictures, or '
            'write a smaller data.hold_out'
        )
    order = range(len(found)) if in_time else np.random.default_rng(0).permutation(len(found)).tolist()
    learn, validate = order[:-held], order[-held:]
    if limit is not None and limit < len(learn):
        learn = [learn[i] for i in np.linspace(0, len(learn) - 1, limit).round().astype(int)]
    log.info(
        '%s: %d pictures to learn from, %d held out (%s), %d left out',
        source, len(learn), len(validate), 'the last in time' if in_time else 'at random', len(rejected),
    )  # fmt: skip

    def part(numbers: Iterable[int], names: Sequence[str]) -> Pictures:
        chosen = list(numbers)
        return Pictures(
            tuple(labels),
            tuple(found[i][1] for i in chosen),
            np.zeros(len(chosen), np.int64),
            tuple(found[i][0] for i in chosen),
            tuple(names),
        )

    return part(learn, rejected), part(validate, ())


def _pictures(
    path: Path, files: Sequence[Path], zips: Sequence[Path], shorter_side: int, rejected: list[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Names and pictures of encoded files, several decoded at a time."""
    entries = _entries(path, files, zips, rejected)

    def small(entry: tuple[str, bytes]) -> np.ndarray | ImageError:
        try:
            return shrunk(decode(entry[1]), shorter_side)
        except ImageError as error:
            return error

    # How many a zip holds is known when it is opened.
    for (name, _), picture in in_parallel(
        entries, small, what='decoding', total=None if zips else len(files)
    ):
        if isinstance(picture, ImageError):
            _leave_out(path, name, picture, rejected)
        else:
            yield name, picture


def _entries(
    path: Path, files: Sequence[Path], zips: Sequence[Path], rejected: list[str]
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of single files and of those in zips."""
    for file in files:
        name = file.relative_to(path).as_posix()
        try:
            data = read_picture_file(file)
        except (OSError, ImageError) as error:
            _leave_out(path, name, error, rejected)
        else:
            yield name, data
    for archive in zips:
        zipped = archive.name if archive == path else archive.relative_to(path).as_posix()
        try:
            opened = zipfile.ZipFile(archive)
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            _leave_out(path, zipped, error, rejected)
            continue
        with opened:
            for member in sorted(opened.infolist(), key=lambda each: each.filename):
                name = f'{zipped}/{member.filename}'
                if hidden(member.filename) or not name.lower().endswith(PICTURE_SUFFIXES):
                    continue
                try:
                    data = member_data(opened, member)
                except (OSError, ImageError) as error:
                    _leave_out(path, name, error, rejected)
                else:
                    yield name, data


def _leave_out(path: Path, name: str, why: object, rejected: list[str]) -> None:
    log.warning('%s: %s is not readable; left out (%s)', path, name, why)
    rejected.append(name)


def _held(hold_out: int, count: int) -> int:
    return hold_out or max(1, round(HELD_OUT * count))


def _frames(
    path: Path, shorter_side: int, hold_out: int, limit: int | None, rejected: list[str]
) -> tuple[list[tuple[str, np.ndarray]], int]:
    """Names and pictures of a recording or a video, in time, and how many of the last are held out.

    Of those to learn from only `limit` are kept, evenly spaced, where the source says how many frames it has.
    """
    from impatient_ros.replay.opening import open_source  # imports what reads recordings

    found: list[tuple[str, np.ndarray]] = []
    try:
        with open_source(path) as source:
            count = source.length
            learn = 0 if count is None else count - _held(hold_out, count)
            kept: set[int] = set()
            if limit is not None and limit < learn:
                kept = {*np.linspace(0, learn - 1, limit).round().astype(int).tolist()}
            for number, frame in enumerate(source.frames()):
                if kept and number < learn and number not in kept:
                    continue
                name = frame.name or f'frame {number}'
                try:
                    raw = isinstance(frame.image, RawFrame)
                    picture = (to_rgb if raw else decode_compressed)(frame.image)
                except ImageError as error:
                    _leave_out(path, name, error, rejected)
                else:
                    # A copy, not a view of the message.
                    found.append((name, np.array(shrunk(picture, shorter_side))))
    except SourceError as error:
        raise DataError(str(error)) from error
    return found, _held(hold_out, count if count is not None and kept else len(found))
