"""What the machine itself must have, and the command that installs what it lacks."""

import importlib.util
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

__all__ = ['Missing', 'explain', 'missing_prerequisites']

# Bytes by purpose. Measured: 5.9 GB with PyTorch's CUDA build, 0.8 GB without PyTorch; and pip unpacks a
# wheel before it installs it.
DISK = {'development': 9e9, 'run': 1.5e9}


@dataclass(frozen=True)
class Missing:
    """Something that is not there: what, why it is needed, the deb package that has it ('' for none)."""

    what: str
    why: str
    package: str = ''


def missing_prerequisites(target: Path, purpose: str, *, builds: bool) -> list[Missing]:
    """What is missing to make an environment at `target`; `builds`: whether interfaces will be compiled."""
    python = f'python{sys.version_info[0]}.{sys.version_info[1]}'
    missing = []
    if any(importlib.util.find_spec(module) is None for module in ('venv', 'ensurepip')):
        missing.append(Missing(f"{python}'s venv module", 'it makes the environment', f'{python}-venv'))
    if builds and shutil.which('g++') is None:
        missing.append(Missing('g++', 'it compiles interfaces/vision_msgs', 'g++'))
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    if builds and not header.is_file():
        missing.append(Missing(f'Python.h ({header})', 'interfaces/vision_msgs needs it', f'{python}-dev'))
    if not target.exists():
        folder = next(parent for parent in target.absolute().parents if parent.is_dir())
        free = shutil.disk_usage(folder).free
        if free < DISK[purpose]:
            what = f'{DISK[purpose] / 1e9:g} GB of free disk in {folder} ({free / 1e9:.1f} GB free)'
            missing.append(Missing(what, 'packages go there; VENV=/other/place moves the environment'))
    return missing


def explain(missing: list[Missing]) -> str:
    """The message for the person at the terminal: what, why, and one command for all of it."""
    lines = ['Missing on this machine:', *(f'    {item.what}: {item.why}' for item in missing)]
    packages = ' '.join(item.package for item in missing if item.package)
    if packages:
        lines += ['Install with:', f'    sudo apt-get install {packages}', 'and run make again.']
        if 'python' in packages and not sys.base_prefix.startswith('/usr'):
            lines.append(f'(That is for the Python of the system; this one is {sys.executable}.')
            lines.append('PYTHON=/usr/bin/python3 picks the other.)')
    return '\n'.join(lines)
