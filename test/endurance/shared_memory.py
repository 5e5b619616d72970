"""What a killed process leaves in shared memory: Fast DDS removes its segments only at a proper end."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ['own_segments', 'remove_segments']

FOLDER = Path('/dev/shm')


def own_segments(pid: int) -> list[Path]:
    """The segments that a process made: it holds the lock of the file `<segment>_el` beside each."""
    inodes = set()
    for line in Path('/proc/locks').read_text().splitlines():
        words = line.split()
        if str(pid) in words[4:5]:
            inodes.add(int(words[5].rsplit(':', 1)[1]))
    segments = []
    for lock in FOLDER.glob('fastrtps_*_el'):
        with contextlib.suppress(FileNotFoundError):
            if lock.stat().st_ino in inodes:
                segments += [lock, lock.with_name(lock.name.removesuffix('_el'))]
    return segments


def remove_segments(segments: list[Path]) -> None:
    for path in segments:
        path.unlink(missing_ok=True)
