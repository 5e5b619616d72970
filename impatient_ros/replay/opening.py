"""Which kind of source a path or number names."""

import re
from pathlib import Path

from impatient_ros.replay.bags import Bag
from impatient_ros.replay.frame import RAW, WHAT_TO_WRITE, Source, SourceError
from impatient_ros.replay.pictures import PICTURE_SUFFIXES, Pictures, picture_files
from impatient_ros.replay.recording_names import (
    COMPANIONS,
    MAGIC_MCAP,
    MAGIC_ROS1,
    MAGIC_SQLITE,
    MAGIC_ZSTD,
    METADATA,
    SUFFIXES,
)
from impatient_ros.replay.video import VideoFile, Webcam

__all__ = ['open_source']

# How packed files start, and what unpacks them.
PACKED = {
    b'\x1f\x8b': 'gunzip', b'BZh': 'bunzip2', b'\xfd7zXZ': 'unxz', b'\x04"M\x18': 'lz4 -d',
    b'PK\3\4': 'unzip', b'7z\xbc\xaf': '7z x',
}  # fmt: skip
VIDEO_SUFFIXES = ('.mp4', '.avi', '.mkv', '.mov', '.webm', '.m4v', '.mpg', '.mpeg')
DEVICE = re.compile(r'(?:/dev/video)?(\d+)')


def open_source(where: str | Path, *, topic: str | None = None, transport: str | None = None) -> Source:
    """Open a bag (rosbag2 folder, .mcap, .db3, .bag), video, picture, folder of pictures or webcam.

    A webcam is an index or /dev/videoN. `topic` chooses among a bag's image topics. `transport` 'compressed'
    makes pictures come as the JPEG and PNG that they are; the other sources yield what they hold, whatever it
    says (see `Source.transport`). Raises SourceError.
    """
    path = Path(where).expanduser()
    source: Source
    if (device := DEVICE.fullmatch(str(where))) and (not path.exists() or path.is_char_device()):
        source = Webcam(int(device[1]))
    elif not path.exists():
        where_to = f' (a link to {path.readlink()})' if path.is_symlink() else ''
        raise SourceError(f'{where} does not exist{where_to}: {WHAT_TO_WRITE}')
    elif path.is_dir():
        source = _open_folder(path, topic, transport)
    elif not path.is_file():
        raise SourceError(f'{where} is neither a file nor a folder, nor a webcam: {WHAT_TO_WRITE}')
    elif path.name == METADATA:
        source = Bag(path.parent, topic)
    else:
        source = _open_file(path, topic, transport)
    if topic is not None and not isinstance(source, Bag):
        source.close()
        raise SourceError(f'TOPIC={topic} makes sense for bags only, and {where} is none: leave it out')
    return source


def _open_file(path: Path, topic: str | None, transport: str | None) -> Source:
    try:
        with path.open('rb') as file:
            start = file.read(16)
    except OSError as error:
        raise SourceError(f'{path} cannot be read: {error.strerror}') from error
    if path.suffix in SUFFIXES or start.startswith((MAGIC_MCAP, MAGIC_ROS1, MAGIC_SQLITE, MAGIC_ZSTD)):
        return Bag(path, topic)
    if command := next((each for magic, each in PACKED.items() if start.startswith(magic)), None):
        raise SourceError(f'{path} is packed: unpack it first with `{command} {path.name}`')
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return Pictures(path, transport or RAW)
    return VideoFile(path)


def _open_folder(folder: Path, topic: str | None, transport: str | None) -> Source:
    if (folder / METADATA).is_file():
        return Bag(folder, topic)
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise SourceError(f'{folder} cannot be read: {error.strerror}') from error
    recordings = [path for path in inside if path.suffix in SUFFIXES and path.is_file()]
    pictures, others = picture_files(folder)
    beside = sum(path.name.endswith(COMPANIONS) for path in inside)
    if len(recordings) == 1 and others - beside == 1 and not pictures:
        return Bag(recordings[0], topic)  # a rosbag2 folder that lost its metadata.yaml
    if not pictures:
        raise SourceError(_why_no_pictures(folder, recordings, others))
    return Pictures(folder, transport or RAW)


def _why_no_pictures(folder: Path, recordings: list[Path], others: int) -> str:
    inside = sorted(path.parent for path in folder.glob('*/metadata.yaml'))
    videos = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if found := inside + recordings + videos:
        choices = '\n'.join(f'  SOURCE={path}' for path in found)
        return f'{folder} is neither one recording (no metadata.yaml) nor pictures; write one of\n{choices}'
    what = f'{others} file{"s" if others > 1 else ""}, none a picture' if others else 'no files'
    kinds = ', '.join(PICTURE_SUFFIXES)
    return f'{folder} holds {what} ({kinds}) and no recording (metadata.yaml, .mcap, .db3, .bag)'
