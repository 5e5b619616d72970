"""The file inside an environment that says what it was built from; where nothing changed, nothing is done."""

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from environment.distribution import Distribution

__all__ = ['Stamp', 'expected_stamp', 'read_stamp', 'write_stamp']

NAME = 'impatient_ros-environment.json'


@dataclass(frozen=True)
class Stamp:
    """What an environment is built from.

    Where `base` (the Python, the kind of ROS) differs it is built anew. Where only `contents` (a hash of the
    requirements and interfaces) or `clone` differ it is brought up to date, and where the last set-up did not
    come to its end it is repaired. What was made for development serves to run the node, too.
    """

    base: str
    contents: str
    clone: str
    purpose: str = 'development'
    complete: bool = True

    @property
    def unfinished(self) -> 'Stamp':
        """The same, to be written while the set-up is in progress."""
        return replace(self, complete=False)


def expected_stamp(
    clone: Path, files: Iterable[Path], distribution: Distribution | None, purpose: str = 'development'
) -> Stamp:
    """The stamp of an environment made from `files` by this Python, for the clone at `clone`."""
    ros = 'ROS 2 from PyPI' if distribution is None else f'ROS 2 {distribution.name} ({distribution.rclpy})'
    python = f'Python {sys.version_info[0]}.{sys.version_info[1]} ({Path(sys.executable).resolve()})'
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f'{file.relative_to(clone)}\n'.encode() + file.read_bytes() + b'\0')
    return Stamp(f'{python}, {ros}', digest.hexdigest(), str(clone), purpose)


def read_stamp(venv: Path) -> Stamp | None:
    """The stamp in `venv`; None if there is none that can be read."""
    try:
        return Stamp(**json.loads((venv / NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_stamp(venv: Path, stamp: Stamp) -> None:
    """Leaves `stamp` in `venv`."""
    (venv / NAME).write_text(json.dumps(asdict(stamp), indent=2) + '\n')
