"""Where the files that belong to this package lie: models, configuration, launch files.

They are found without ROS, in this order: the clone that this module was imported from; `share/impatient_ros`
of the installation that it belongs to (colcon or pip); that of each prefix in AMENT_PREFIX_PATH.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ['resource_path']

PACKAGE = 'impatient_ros'
KINDS = ('config', 'launch', 'models')


def resource_path(kind: str, name: str = '') -> Path:
    """The path of `name` in folder `kind` ('config', 'launch' or 'models'), or of the folder.

    Raises ValueError for another kind, FileNotFoundError, listing where it looked, if there is no such file.
    """
    if kind not in KINDS:
        raise ValueError(f'unknown kind of resource {kind!r}: write one of {", ".join(KINDS)}')
    looked: list[Path] = []
    for root in _roots():
        path = root / kind / name
        if path.exists():
            return path
        if path not in looked:
            looked.append(path)
    where = '\n  '.join(map(str, looked))
    raise FileNotFoundError(f'no {kind} file {name!r}; looked for\n  {where}')


def _roots() -> Iterator[Path]:
    package = Path(__file__).resolve().parent
    if (package.parent / 'package.xml').is_file():
        yield package.parent
    # <prefix>/lib/python3.x/site-packages/impatient_ros, or <prefix>/local/lib/.../dist-packages on Debian
    for folder in package.parents:
        if (folder / 'share' / PACKAGE).is_dir():
            yield folder / 'share' / PACKAGE
            break
    yield Path(sys.prefix) / 'share' / PACKAGE
    for prefix in filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)):
        yield Path(prefix) / 'share' / PACKAGE
