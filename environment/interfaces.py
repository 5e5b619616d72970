"""Builds interfaces/vision_msgs into an environment with ROS 2 from PyPI; run by that environment's Python.

    .venv/bin/python -m environment.interfaces

The environment then is an ament prefix that has vision_msgs, as a distribution would.
"""

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

__all__ = ['build_interfaces', 'repoint_includes']

SOURCE = Path(__file__).resolve().parent.parent / 'interfaces' / 'vision_msgs'
INCLUDES = re.compile(r'(INTERFACE_INCLUDE_DIRECTORIES ")/opt/python/[^"]*(")')


def repoint_includes(prefix: Path, includes: list[str]) -> int:
    """Lets the message wheels' CMake exports name `includes`; returns how many files were changed.

    Their Python targets name include folders of the machine that built the wheels. Those are not there, and
    CMake refuses a target whose include folders are missing.
    """
    changed = 0
    for export in sorted(prefix.glob('share/*/cmake/export_*__rosidl_generator_pyExport.cmake')):
        text = export.read_text()
        repointed = INCLUDES.sub(lambda match: match[1] + ';'.join(includes) + match[2], text)
        if repointed != text:
            export.write_text(repointed)
            changed += 1
    return changed


def build_interfaces(prefix: Path) -> None:
    """Generates, compiles and installs vision_msgs into `prefix`. Raises CalledProcessError if that fails."""
    import numpy

    changed = repoint_includes(prefix, [sysconfig.get_path('include'), numpy.get_include()])
    print(f"{changed} exports of message wheels now name this machine's include folders", flush=True)
    environ = os.environ | {
        'AMENT_PREFIX_PATH': str(prefix),
        'CMAKE_PREFIX_PATH': str(prefix),
        'PATH': os.pathsep.join([str(prefix / 'bin'), os.environ['PATH']]),
    }
    cmake = str(prefix / 'bin' / 'cmake')
    with tempfile.TemporaryDirectory(prefix='vision_msgs-') as build:
        options = {
            'CMAKE_INSTALL_PREFIX': prefix,
            'CMAKE_BUILD_TYPE': 'Release',
            'BUILD_TESTING': 'OFF',
            'Python3_EXECUTABLE': sys.executable,
            'PYTHON_EXECUTABLE': sys.executable,
        }
        defines = [f'-D{name}={value}' for name, value in options.items()]
        for command in (
            [cmake, '-S', str(SOURCE), '-B', build, '-G', 'Ninja', *defines],
            [cmake, '--build', build],
            [cmake, '--install', build],
        ):
            print('$', *command, flush=True)
            subprocess.run(command, env=environ, check=True)


if __name__ == '__main__':
    build_interfaces(Path(sys.prefix))
