"""A recording on the disk: which files it has, of which format, and what it announces.

A file is what its first bytes say, whatever its name. A folder's metadata.yaml names the files and counts the
messages; nothing else is taken from there, because the files themselves say it, too.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import Any

import yaml

from impatient_ros.replay.frame import SourceError
from impatient_ros.replay.mcap_file import McapFile
from impatient_ros.replay.recording import Channel, RecordingFile, zstd
from impatient_ros.replay.recording_names import (
    MAGIC_MCAP,
    MAGIC_ROS1,
    MAGIC_SQLITE,
    MAGIC_ZSTD,
    METADATA,
    SUFFIXES,
)
from impatient_ros.replay.ros1_file import Ros1File
from impatient_ros.replay.sqlite_file import SqliteFile

__all__ = ['OpenedRecording']

FORMATS: dict[bytes, type[RecordingFile]] = {
    MAGIC_MCAP: McapFile,
    MAGIC_SQLITE: SqliteFile,
    MAGIC_ROS1: Ros1File,
}
NAMED: dict[str, type[RecordingFile]] = {
    '.mcap': McapFile,
    '.db3': SqliteFile,
    '.bag': Ros1File,
    '.active': Ros1File,
}
LARGEST_METADATA = 1 << 24  # bytes; a topic takes about 1,000
SPARED = 1 << 30  # bytes that stay free on the disk when a file is decompressed onto it


class OpenedRecording(AbstractContextManager['OpenedRecording']):
    """The files of one recording, open, in the order in which they were recorded.

    `path` is a folder or one file. Whatever damage raises becomes a SourceError that says what is wrong and
    what to write, in one line.

    Attributes:
        ros1: whether its messages are serialised as those of ROS 1.
        channels: every topic and type, and how many messages are announced of it.
        remarks: what is not as it should be and yet can be read, a line each.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: list[tuple[Path, RecordingFile]] = []
        self.remarks: list[str] = []
        announced: dict[tuple[str, str], int] = {}
        with ExitStack() as stack:
            paths: Sequence[Path] = [path]
            if path.is_dir():
                with self._said(path / METADATA):
                    paths, announced = self._contents(path)
            for place in paths:
                self._open(place, stack)
            self._stack = stack.pop_all()
        found: Counter[tuple[str, str]] = Counter()
        for _, file in self._files:
            for each in file.channels:
                found[each.topic, each.kind] += each.count
        self.channels = tuple(
            Channel(topic, kind, announced.get((topic, kind), count))
            for (topic, kind), count in sorted(found.items())
        )
        self.ros1 = any(isinstance(file, Ros1File) for _, file in self._files)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def messages(self, topic: str, kind: str) -> Iterator[tuple[int, bytes]]:
        """When each message was recorded (ns), and the message as ROS serialises it."""
        for path, file in self._files:
            with self._said(path, type(file)):
                yield from file.messages(topic, kind)

    def _open(self, path: Path, stack: ExitStack) -> None:
        form = NAMED.get(path.suffix)
        with self._said(path, form):
            start = _start(path)
            if start.startswith(MAGIC_ZSTD):
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                unpacked = Path(folder) / path.stem
                _decompress(path, unpacked)
                path, start = unpacked, _start(unpacked)
            form = next((each for magic, each in FORMATS.items() if start.startswith(magic)), form)
        with self._said(path, form):
            if not start:
                raise ValueError('it is empty')
            if form is None:
                raise ValueError('it is neither MCAP nor SQLite nor a bag of ROS 1')
            file = stack.enter_context(form(path))
        self._files.append((path, file))
        if file.cut_off:
            self.remarks.append(f'{path}: {file.cut_off}; {file.repair.format(path.name)}')

    def _contents(self, folder: Path) -> tuple[list[Path], dict[tuple[str, str], int]]:
        """The files of a folder in order, and how many messages of each topic and type it announces."""
        metadata, there = folder / METADATA, _recording_files(folder)
        try:
            names, announced = _metadata(metadata)
        except Exception as error:
            if not there:
                raise
            what = ' '.join(str(error).split())[:500]
            self.remarks.append(f'{metadata} cannot be used ({what}): all files beside it are read')
            return there, {}
        named = [folder / name for name in names]
        paths = [path for path in named if path.is_file()]
        missing = ', '.join([path.name for path in named if path not in paths][:4])
        if missing and not paths:  # renamed, most likely
            paths = there
        if not paths:
            raise ValueError(f'it names {missing or "no file"}, and no recording lies beside it')
        if missing:
            read = ', '.join(path.name for path in paths[:4])
            self.remarks.append(f'{metadata} names {missing}, missing: {read} is read')
        return paths, announced

    @contextmanager
    def _said(self, path: Path, form: type[RecordingFile] | None = None) -> Iterator[None]:
        """Turn whatever damage raises into a SourceError."""
        try:
            yield
        except Exception as error:  # struct, zstd, lz4, sqlite, assertion, key and other errors
            what = ' '.join((str(error) or type(error).__name__).split()).rstrip('.')[:500]
            inside = '' if path == self._path else f'{path.name}: '
            repair = '' if form is None else f'; {form.repair.format(path.name)}'
            raise SourceError(f'{self._path} cannot be read as a bag: {inside}{what}{repair}') from error


def _recording_files(folder: Path) -> list[Path]:
    """Those in a folder that have a recording's name."""
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())


def _start(path: Path) -> bytes:
    with path.open('rb') as file:
        return file.read(16)


def _metadata(path: Path) -> tuple[list[str], dict[tuple[str, str], int]]:
    with path.open('rb') as file:
        text = file.read(LARGEST_METADATA + 1)
    if len(text) > LARGEST_METADATA:
        raise ValueError(f'more than {LARGEST_METADATA} bytes')
    document: Any = yaml.load(text, yaml.CSafeLoader)
    try:
        information = document['rosbag2_bagfile_information']
        announced: Counter[tuple[str, str]] = Counter()
        for each in information['topics_with_message_count']:
            topic = each['topic_metadata']
            announced[str(topic['name']), str(topic['type'])] += int(each['message_count'])
        # Old versions wrote the folder's name in front.
        return [PurePath(name).name for name in information['relative_file_paths']], announced
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f'not the metadata of a recording: {error!r}') from error


def _decompress(path: Path, target: Path) -> None:
    room = shutil.disk_usage(target.parent).free - SPARED
    with zstd.open(path, 'rb') as packed, target.open('wb') as file:
        while block := packed.read(1 << 20):
            room -= len(block)
            if room < 0:
                raise OSError(f'it needs more room than {target.parent} has: decompress it with `zstd -d`')
            file.write(block)
