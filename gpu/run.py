"""Everything that needs a GPU, in one command: see gpu/README.md.

    python3 gpu/run.py                          # tests, speed, deadlines: under 9 minutes
    python3 gpu/run.py speed --models resnet18
    python3 gpu/run.py cifar10 --data gpu/data --budget 500
    python3 gpu/run.py --dry                    # on the CPU, to see that all this still runs

Ends with 0 where all succeeded, 1 where something failed or was left out, 2 where nothing can be done here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gpu import children, learning  # noqa: E402
from gpu.report import readme  # noqa: E402

PARTS = ('tests', 'speed', 'deadlines')
MODELS = ('resnet18', 'resnet50', 'mobilenet_v3_large', 'efficientnet_b0', 'vit_b_16', 'default')
DRY_MODELS = ('shufflenet_v2_x0_5',)
BUDGET = 530.0  # s: under nine minutes
# Seconds after which a case hangs rather than works, several times what it takes.
LIMITS = {'machine': 120.0, 'tests': 240.0, 'speed': 180.0, 'deadlines': 120.0}
PYTEST = (
    # Without --strict-config: plugins that pyproject.toml has options for may be missing here. Warnings are
    # no errors: versions differ from those that we hold ourselves to.
    *(
        '-m',
        'pytest',
        '-m',
        'cuda',
        '-v',
        '-rs',
        '--tb=short',
        '--no-header',
        '-W',
        'default',
        '-p',
        'no:cacheprovider',
    ),
    *('-o', 'addopts=--import-mode=importlib --strict-markers', '--continue-on-collection-errors'),
)


class Session:
    """One call: its folder of results, and how much of its time is left.

    Attributes:
        notes: what failed or was left out, for people.
    """

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self._options = options
        self._scratch = scratch
        self._until = time.monotonic() + options.budget
        self.notes: list[str] = []
        more = [str(ROOT), str(ROOT / 'test'), *filter(None, [os.environ.get('PYTHONPATH')])]
        self._env = {
            **os.environ,
            'PYTHONUNBUFFERED': '1',
            'PYTHONPATH': os.pathsep.join(more),
            'XDG_CACHE_HOME': str(scratch / 'cache'),  # nothing is left behind, latencies are measured anew
            'HF_HUB_OFFLINE': '1',
        }
        if options.dry:
            # Where cores are busy, threads of eager torch that wait for each other take minutes.
            self._env |= {'OMP_NUM_THREADS': '1'}
        described = self._child('machine', [str(ROOT / 'gpu' / 'machine.py')], show=False)
        if described.code != 0:
            raise RuntimeError(f'torch cannot be asked for its devices:\n{described.output}')
        self.machine: dict[str, Any] = json.loads(described.output[described.output.index('{') :])
        self.learned: dict[str, str] = {}
        self.folder = self._folder()

    def left(self) -> float:
        """Seconds."""
        return self._until - time.monotonic()

    def tests(self) -> None:
        files = sorted(
            str(file.relative_to(ROOT))
            for file in (ROOT / 'test').rglob('test_*.py')
            if 'mark.cuda' in file.read_text(encoding='utf-8') and file.parent.name != 'gpu'
        )
        if not _installed('lightning'):
            files = [file for file in files if not file.startswith('test/training')]
            print('== tests of training are left out: lightning is not installed', flush=True)
        # The others may need what is missing here. A dry run only collects: `make test` runs them anyway.
        more = ['--collect-only', '-q'] if self._options.dry else []
        ended = self._case('tests', f'{len(files)} files', [*PYTEST, *more, *files])
        if ended is not None:
            (self.folder / 'tests.txt').write_text(ended.output)

    def measure(self, part: str) -> None:
        """speed or deadlines, one network after the other."""
        for model in self._options.models:
            out = self._scratch / f'{part}-{model}.json'
            dry = ['--dry'] if self._options.dry else []
            self._case(part, model, [str(ROOT / 'gpu' / f'{part}.py'), model, str(out), *dry])
            if out.exists():
                self._merge(f'{part}.json', model, json.loads(out.read_text()))
                self.write_readme()

    def learn(self, name: str) -> None:
        data, state = (each.resolve() for each in (self._options.data, self._options.state))
        try:
            folder = learning.prepare(name, data, state, self._options.out.resolve())
        except ValueError as error:
            self._note(f'{name}: {error}')
            return
        for command in learning.commands(name, data, folder):
            # What time ends is not lost: the state after the last epoch is in the folder.
            if self._case(name, command[1], command, limit=self.left()) is None:
                break
        self.learned[name] = learning.progress(folder)

    def write_readme(self) -> None:
        tests = self.folder / 'tests.txt'
        text = readme(
            self.machine,
            speed=self._records('speed.json'),
            deadlines=self._records('deadlines.json'),
            tests=tests.read_text() if tests.exists() else '',
            learning=self.learned,
            notes=self.notes,
        )
        (self.folder / 'README.md').write_text(text)

    def _folder(self) -> Path:
        name = self.machine['gpu'] or 'dry'
        slug = re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')
        folder = self._options.out / f'{slug}-{time.strftime("%Y-%m-%d")}'
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'machine.json').write_text(json.dumps(self.machine, indent=1) + '\n')
        return folder

    def _case(
        self, part: str, what: str, command: Sequence[str], *, limit: float | None = None
    ) -> children.Ended | None:
        """One process; None where it was not begun, or failed and its output is of no use."""
        if self.left() <= 0:
            self._note(f'{part} {what}: left out, the time is over')
            return None
        print(f'== {part} {what}, {self.left():.0f} s left', flush=True)
        ended = self._child(part, command, limit=limit)
        how = 'done' if ended.code == 0 else 'time over' if ended.code is None else f'failed ({ended.code})'
        print(f'== {part} {what}: {how} after {ended.seconds:.0f} s', flush=True)
        if ended.code != 0:
            last = ended.output.strip().splitlines()[-1:]
            self._note(f'{part} {what}: {how}: {" ".join(last)[:300]}')
        return ended if ended.code == 0 or part == 'tests' else None

    def _child(
        self, part: str, command: Sequence[str], *, limit: float | None = None, show: bool = True
    ) -> children.Ended:
        seconds = LIMITS[part] if limit is None else limit
        return children.run([sys.executable, *command], cwd=ROOT, env=self._env, limit=seconds, show=show)

    def _note(self, text: str) -> None:
        print(f'== {text}', flush=True)
        self.notes.append(text)

    def _merge(self, file: str, model: str, new: list[dict[str, Any]]) -> None:
        kept = [each for each in self._records(file) if each['model'] != model]
        (self.folder / file).write_text(json.dumps(kept + new, indent=1) + '\n')

    def _records(self, file: str) -> list[dict[str, Any]]:
        path = self.folder / file
        return json.loads(path.read_text()) if path.exists() else []


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix='impatient_ros-gpu-') as scratch:
        if options.models is None:
            options.models = DRY_MODELS if options.dry else MODELS
        try:
            session = Session(options, Path(scratch))
        except RuntimeError as error:
            print(f'gpu: {error}', file=sys.stderr)
            return 2
        if session.machine['gpu'] is None and not options.dry:
            print('gpu: torch sees no CUDA device; --dry runs the rest on the CPU', file=sys.stderr)
            return 2
        for part in options.parts or PARTS:
            if part == 'tests':
                session.tests()
            elif part in PARTS:
                session.measure(part)
            else:
                session.learn(part)
            session.write_readme()
        print(f'== {session.folder}: {len(session.notes)} notes', flush=True)
        return int(bool(session.notes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = (*PARTS, *learning.RUNS)
    add = parser.add_argument
    add(
        'parts',
        nargs='*',
        choices=[*names, []],
        metavar='PART',
        help=f'of {", ".join(names)}; default: {", ".join(PARTS)}',
    )
    add(
        '--budget',
        type=float,
        default=BUDGET,
        metavar='SECONDS',
        help='begin nothing after it; default: %(default)s',
    )
    add('--models', type=lambda text: text.split(','), help=f'default: {",".join(MODELS)}')
    add('--out', type=Path, default=ROOT / 'gpu' / 'results', help='default: gpu/results')
    add(
        '--data',
        type=Path,
        default=ROOT / 'gpu' / 'data',
        help='where learning finds its zips; default: gpu/data',
    )
    add(
        '--state',
        type=Path,
        default=ROOT / 'gpu' / 'state',
        help='what earlier parts of learning runs left; default: gpu/state',
    )
    add('--dry', action='store_true', help='everything but CUDA itself, on the CPU, tiny')
    return parser


if __name__ == '__main__':
    sys.exit(main())
