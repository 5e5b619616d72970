"""Makes the environment, brings it up to date or repairs it; with nothing to do it ends at once.

python3 -m environment --venv .venv                  # for development: tests, training, torch
python3 -m environment --venv .venv --purpose run    # only what the node and the demo need
"""

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from environment.distribution import Distribution, sourced_distribution
from environment.prerequisites import SIZE, explain, missing_prerequisites
from environment.stamp import Stamp, expected_stamp, read_stamp, write_stamp
from environment.step import StepFailed, run_step

CLONE = Path(__file__).resolve().parent.parent
REQUIREMENTS = CLONE / 'requirements'
# Files of requirements/ by purpose.
PURPOSES = {'run': ('runtime',), 'development': ('runtime', 'training', 'development')}
# What must import in a sound environment.
MODULES = {
    'run': ('openvino', 'onnx', 'cv2', 'safetensors.numpy', 'platformdirs', 'rosbags', 'rich'),
    'development': ('torch', 'torchvision', 'cv2', 'safetensors.torch', 'rosbags', 'rich', 'pytest'),
}
ROS_MODULES = ('rclpy', 'sensor_msgs.msg', 'diagnostic_msgs.msg', 'std_srvs.srv', 'vision_msgs.msg')


class Environment:
    """The environment at `venv`, for the ROS 2 that this shell has: a distribution's or (None) PyPI's.

    `purpose` is one of PURPOSES.
    """

    def __init__(self, venv: Path, distribution: Distribution | None, purpose: str = 'development'):
        self.venv = venv
        self.purpose = purpose
        self.requirements = [*PURPOSES[purpose], *([] if distribution else ['ros', 'interfaces'])]
        self.distribution = distribution
        self.python = venv / 'bin' / 'python'
        self.log = venv / 'setup.log'
        # Settings that would send pip elsewhere; the distribution's PYTHONPATH stays.
        unwanted = {'PIP_USER', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_REQUIREMENT', 'PYTHONHOME'}
        if distribution is None:
            unwanted.add('PYTHONPATH')
        self.environ = {name: value for name, value in os.environ.items() if name not in unwanted}
        self.environ |= {'PIP_DISABLE_PIP_VERSION_CHECK': '1', 'PIP_NO_INPUT': '1', 'PYTHONUNBUFFERED': '1'}

    def expected(self) -> Stamp:
        """What the environment would be stamped with now."""
        names = [*self.requirements, *(['distribution'] if self.distribution else [])]
        files = [REQUIREMENTS / f'{name}.txt' for name in names]
        files += [*CLONE.glob('environment/*.py'), *CLONE.glob('setup.*')]
        files += [file for file in (CLONE / 'interfaces').rglob('*') if file.is_file()]
        return expected_stamp(CLONE, files, self.distribution, self.purpose)

    def usable(self) -> bool:
        """Whether there is a Python with pip to go on with."""
        try:
            command = [str(self.python), '-m', 'pip', '--version']
            return subprocess.run(command, env=self.environ, capture_output=True).returncode == 0
        except OSError:
            return False

    def build(self, stamp: Stamp, *, anew: bool, repair: bool) -> None:
        """Goes through all steps; each leaves what is right already as it is. Raises StepFailed."""
        if anew:
            if self.venv.exists():
                shutil.rmtree(self.venv)
            self.venv.mkdir(parents=True)
            write_stamp(self.venv, stamp.unfinished)
            options = ['--system-site-packages'] if self.distribution else []
            self._step('virtual environment', [sys.executable, '-m', 'venv', *options, str(self.venv)])
        write_stamp(self.venv, stamp.unfinished)
        # setuptools builds the project itself; older ones need `wheel` beside them
        self._pip('pip itself', '--upgrade', 'pip>=23', 'setuptools>=70.1')
        if repair:
            self._repair()
        arguments = [f'--requirement={REQUIREMENTS / name}.txt' for name in self.requirements]
        if self.distribution:
            arguments.append(f'--constraint={REQUIREMENTS / "distribution.txt"}')
        self._pip(f'packages ({SIZE[self.purpose] / 1e9:g} GB the first time)', *arguments)
        if self.distribution is None:
            self._step('vision_msgs', [str(self.python), '-m', 'environment.interfaces'])
        self._pip('impatient_ros', '--no-deps', '--no-build-isolation', f'--editable={CLONE}')
        modules = [*MODULES[self.purpose], *ROS_MODULES, *(['cv_bridge'] if self.distribution else [])]
        self._step('check', [str(self.python), '-m', 'environment.inspection', 'imports', *modules])
        write_stamp(self.venv, stamp)

    def _repair(self) -> None:
        command = [str(self.python), '-m', 'environment.inspection', 'files']
        found = subprocess.run(command, cwd=CLONE, env=self.environ, capture_output=True, text=True)
        broken = found.stdout.split()
        if broken:
            self._pip(f'repair of {len(broken)} packages', '--force-reinstall', '--no-deps', *broken)

    def _pip(self, what: str, *arguments: str) -> None:
        self._step(what, [str(self.python), '-m', 'pip', 'install', '--progress-bar=off', *arguments])

    def _step(self, what: str, command: list[str]) -> None:
        run_step(what, command, self.log, self.environ)


@contextmanager
def alone(venv: Path) -> Iterator[None]:
    """Waits until no other make works on this environment."""
    venv.parent.mkdir(parents=True, exist_ok=True)
    with open(venv.with_name(f'{venv.name}.lock'), 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f'Another make is setting up {venv}; waiting for it.', flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up(venv: Path, purpose: str = 'development') -> None:
    """Makes `venv` what it should be. One that was made for development stays so.

    Raises StepFailed, and SystemExit with a message for people where the machine lacks something.
    """
    distribution = sourced_distribution(os.environ)
    present = read_stamp(venv)
    environment = Environment(venv, distribution, 'development' if _develops(present) else purpose)
    wanted = environment.expected()
    if present == wanted:
        return
    if missing := missing_prerequisites(venv, environment.purpose, distribution):
        raise SystemExit(explain(missing))
    if present is None and venv.exists() and any(venv.iterdir()) and not (venv / 'pyvenv.cfg').is_file():
        raise SystemExit(
            f'{venv} exists but is no virtual environment: remove it or set VENV= to another path.'
        )

    reason = ''
    if present and present.base != wanted.base:
        reason = f'it was made for {present.base}'
    elif venv.exists() and not environment.usable():
        reason = 'it does not work'
    anew = bool(reason) or not venv.exists()
    repair = not anew and (present is None or not present.complete)
    task = 'Building anew' if reason else 'Building' if anew else 'Repairing' if repair else 'Updating'
    print(f'{task} {venv} for {wanted.base}{": " + reason if reason else ""}', flush=True)
    environment.build(wanted, anew=anew, repair=repair)
    print(f'{venv} is ready.', flush=True)


def _develops(present: Stamp | None) -> bool:
    return present is not None and present.purpose == 'development'


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog='python3 -m environment', description=__doc__)
    parser.add_argument('--venv', type=Path, default=Path('.venv'), help='where (default: %(default)s)')
    parser.add_argument(
        '--purpose', choices=[*PURPOSES], default='development', help='(default: %(default)s)'
    )
    given = parser.parse_args()
    venv = given.venv.absolute()
    os.chdir(CLONE)
    try:
        with alone(venv):
            set_up(venv, given.purpose)
    except StepFailed as failure:
        print(f'\n{failure}\nRunning make again goes on from here.', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nInterrupted; running make again goes on from here.', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
