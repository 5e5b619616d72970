"""Whether an environment is whole; run by that environment's Python after a set-up that was interrupted.

    .venv/bin/python -m environment.inspection files    # names packages with files missing or cut short
    .venv/bin/python -m environment.inspection imports MODULE...

Killed in the middle, pip leaves packages that it believes to be installed; a later pip leaves them alone.
"""

import csv
import importlib
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

__all__ = ['broken_packages', 'remove_leftovers']

# Written anew here: by environment.interfaces, and by Python and pip.
REWRITTEN = ('.cmake', '.pyc')


def broken_packages(folder: Path) -> list[str]:
    """'name==version' of every package in `folder` with files missing or shorter than recorded."""
    return sorted(
        f'{package.name}=={package.version}' for package in _packages(folder) if _is_broken(package)
    )


def remove_leftovers(folder: Path) -> list[str]:
    """Removes what an interrupted pip left in `folder`; returns the names.

    These are old packages that it had set aside (~name), and metadata without METADATA, which is written with
    the files, or without RECORD, which is written last: with those gone pip installs the package anew.
    """
    removed = []
    for entry in folder.iterdir():
        names = {file.name for file in entry.iterdir()} if entry.name.endswith('.dist-info') else None
        if entry.name.startswith('~') or (names is not None and not names >= {'METADATA', 'RECORD'}):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            removed.append(entry.name)
    return removed


def _packages(folder: Path) -> Iterable[Distribution]:
    return (PathDistribution(entry) for entry in folder.glob('*.dist-info'))


def _is_broken(package: Distribution) -> bool:
    # Not package.files: from Python 3.12 on it leaves out the files that are missing.
    for name, _, size in csv.reader((package.read_text('RECORD') or '').splitlines()):
        path = Path(str(package.locate_file(name)))
        if path.suffix in REWRITTEN or not size:
            continue
        if not path.is_file() or path.stat().st_size < int(size):
            return True
    return False


def main() -> int:
    """The command line; prints broken packages one per line, or imports the modules named."""
    task, *names = sys.argv[1:]
    if task == 'imports':
        for name in names:
            print('import', name, flush=True)
            importlib.import_module(name)
        return 0
    folder = Path(sysconfig.get_path('purelib'))
    remove_leftovers(folder)
    print('\n'.join(broken_packages(folder)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
