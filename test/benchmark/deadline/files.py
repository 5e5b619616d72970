"""Where results go: a summary for people and tools, and beside it every frame, packed by column."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from deadline.frame import Frame

__all__ = ['frames_path', 'read_frames', 'write_frames', 'write_summary']


def frames_path(summary: Path) -> Path:
    """The file with the frames that belong to a summary."""
    return summary.with_suffix('.frames.json.gz')


def write_summary(path: Path, summary: Sequence[dict]) -> None:
    lines = ',\n'.join(json.dumps(record) for record in summary)
    path.write_text(f'[\n{lines}\n]\n', encoding='utf-8')


def write_frames(
    path: Path, frames: Sequence[Frame], accuracies: dict[str, Sequence[float]], about: dict
) -> None:
    """`about` says what the frames were measured on."""
    names = [field.name for field in fields(Frame)]
    columns = {name: [getattr(frame, name) for frame in frames] for name in names}
    text = json.dumps({'about': about, 'accuracies': accuracies, 'columns': columns}, separators=(',', ':'))
    # Without the time of packing, so that the same frames give the same file.
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def read_frames(path: Path) -> tuple[list[Frame], dict[str, Sequence[float]], dict]:
    """The frames, the accuracies of each model's paths, and what they were measured on."""
    stored = json.loads(gzip.decompress(path.read_bytes()))
    columns = stored['columns']
    columns['decisions_us'] = [tuple(each) for each in columns['decisions_us']]
    rows = zip(*columns.values(), strict=True)
    frames = [Frame(**dict(zip(columns, row, strict=True))) for row in rows]
    return frames, stored['accuracies'], stored['about']
