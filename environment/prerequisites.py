"""What the machine itself must have, and the command that installs what it lacks."""

import importlib.util
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from environment.distribution import NEEDED, Distribution

__all__ = ['SIZE', 'Missing', 'explain', 'missing_prerequisites']

# Bytes by purpose that an environment takes. Measured on Debian 13: 6.9 GB with torch 2.15 (PyTorch's CUDA
# build), 0.8 GB without PyTorch.
SIZE = {'development': 7e9, 'run': 0.8e9}
# What must be free, as a multiple of that: pip unpacks wheels, and may keep them, before it installs them.
UNPACKING = 1.5


@dataclass(frozen=True)
class Missing:
    """Something that is not there: what, why it is needed, the deb package that has it ('' for none)."""

    what: str
    why: str
    package: str = ''


def missing_prerequisites(target: Path, purpose: str, distribution: Distribution | None) -> list[Missing]:
    """What is missing to make an environment at `target`.

    Where no distribution is sourced, ROS 2 comes from PyPI, and interfaces are compiled.
    """
    builds = distribution is None
    python = f'python{sys.version_info[0]}.{sys.version_info[1]}'
    missing = []
    # PyPI's rclpy 7.1.6 has wheels for this platform alone (glibc 2.28 or later), and no source.
    if builds and (sys.platform, platform.machine()) != ('linux', 'x86_64'):
        machine = f'{platform.machine()} {sys.platform}'
        why = (
            f'PyPI has rclpy for x86_64 Linux only, and this is {machine}: install a ROS 2 distribution with '
            'its vision-msgs and cv-bridge packages (or use its container), source it and run make again'
        )
        return [Missing('a sourced ROS 2 distribution', why)]
    if any(importlib.util.find_spec(module) is None for module in ('venv', 'ensurepip')):
        missing.append(Missing(f"{python}'s venv module", 'it makes the environment', f'{python}-venv'))
    if builds and shutil.which('g++') is None:
        missing.append(Missing('g++', 'it compiles interfaces/vision_msgs', 'g++'))
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    if builds and not header.is_file():
        missing.append(Missing(f'Python.h ({header})', 'interfaces/vision_msgs needs it', f'{python}-dev'))
    if distribution:
        for module in distribution.missing:
            package = f'ros-{distribution.name}-{NEEDED[module]}'
            missing.append(
                Missing(module, f'the node needs it, and ROS 2 {distribution.name} has it', package)
            )
    if not target.exists():
        folder = next(parent for parent in target.absolute().parents if parent.is_dir())
        free = shutil.disk_usage(folder).free
        needed = UNPACKING * SIZE[purpose]
        if free < needed:
            what = f'{needed / 1e9:.1f} GB of free disk in {folder} ({free / 1e9:.1f} GB free)'
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
