"""Which kind of source a path or number names."""

import re
from pathlib import Path

from impatient_ros.replay.bags import Bag
from impatient_ros.replay.frame import RAW, WHAT_TO_WRITE, Source, SourceError
from impatient_ros.replay.pictures import PICTURE_SUFFIXES, Pictures, picture_files
from impatient_ros.replay.video import VideoFile, Webcam

__all__ = ['open_source']

BAG_SUFFIXES = ('.bag', '.mcap', '.db3')
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
        raise SourceError(f'{where} does not exist: {WHAT_TO_WRITE}')
    elif path.is_dir():
        source = _open_folder(path, topic, transport)
    elif path.name == 'metadata.yaml':
        source = Bag(path.parent, topic)
    elif path.suffix in BAG_SUFFIXES:
        source = Bag(path, topic)
    elif path.suffix.lower() in PICTURE_SUFFIXES:
        source = Pictures(path, transport or RAW)
    else:
        source = VideoFile(path)
    if topic is not None and not isinstance(source, Bag):
        source.close()
        raise SourceError(f'TOPIC={topic} makes sense for bags only, and {where} is none: leave it out')
    return source


def _open_folder(folder: Path, topic: str | None, transport: str | None) -> Source:
    if (folder / 'metadata.yaml').is_file():
        return Bag(folder, topic)
    recordings = sorted(path for path in folder.iterdir() if path.suffix in BAG_SUFFIXES)
    pictures, others = picture_files(folder)
    if len(recordings) == 1 and others == 1 and not pictures:
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
