"""Right and in time by budget: a data set's pictures through the real classifier, each with a deadline.

    python test/benchmark/accuracy.py --data pictures.zip --split test [--load] --json OUT

Every picture is classified once per budget and policy, in an order in which budgets and policies take turns,
so that all meet the same machine; budgets count from the decoded picture. An answer counts only where it was
right and in time. Policies: a mode of the node over all paths; where there are several exits and several
resolutions, the same over the exits of the largest resolution (`exits only`) and over the last exits
(`resolutions only`); and every path alone, always, whenever its answer comes: `full network` is the most
accurate one by the checkpoint's own accuracies, `best one path` the one that turned out best over all these
budgets together, a plain network chosen as well as can be, and `best path by budget` the one that turned out
best at that budget: no network, since nobody knows it beforehand. With --load a busy process computes on
every core.

OUT is a JSON list of flat records with the keys model, machine, runtime, load, miss_rate, policy, budget_ms,
frames, accuracy, in_time, paths (answers in time by path), infeasible.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from impatient_ros.anytime import Answer, AnytimeClassifier  # noqa: E402
from impatient_ros.checkpoint import read as read_checkpoint  # noqa: E402
from impatient_ros.perception.path_text import path_text  # noqa: E402
from impatient_ros.planning.planners import Planners  # noqa: E402
from training.data.labelled_pictures import Pictures, read  # noqa: E402
from training.scoring.classes import with_labels  # noqa: E402

FULL, ONE, BEST = 'full network', 'best one path', 'best path by budget'
BUSY = 'while True: pass'


@dataclass
class Cell:
    """What came of one policy at one budget."""

    right: int = 0
    in_time: int = 0
    infeasible: int = 0
    paths: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Answer, path: str, right: bool, in_time: bool) -> None:
        self.infeasible += answer.infeasible
        self.in_time += in_time
        self.right += right and in_time
        if in_time:
            self.paths[path] += 1


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    classifier = AnytimeClassifier.from_checkpoint(
        options.checkpoint,
        runtime=options.runtime,
        mode=options.mode,
        cpu_threads=options.threads,
        miss_rate=options.miss_rate,
    )
    try:
        pictures = with_labels(
            read(options.data, options.split), classifier.labels, Path(options.checkpoint).name
        )
    except ValueError as error:
        print(f'accuracy.py: {error}', file=sys.stderr)
        return 2
    with busy() if options.load else ExitStack():
        cells = measured(classifier, pictures, options)
    described = classifier.runtime.describe()
    records = [
        {
            'model': Path(options.checkpoint).name,
            'machine': machine(),
            'runtime': f'{described["runtime"]} ({described["device"]}), {described["threads"]} threads',
            'load': options.load,
            'miss_rate': options.miss_rate,
            'policy': policy,
            'budget_ms': budget,
            'frames': len(pictures),
            'accuracy': cell.right / len(pictures),
            'in_time': cell.in_time / len(pictures),
            'paths': dict(cell.paths.most_common()),
            'infeasible': cell.infeasible / len(pictures),
        }
        for (policy, budget), cell in cells.items()
    ]
    if options.json:
        Path(options.json).write_text(json.dumps(records, indent=1) + '\n')
    Console(width=110 if not sys.stdout.isatty() else None).print(_table(records))
    return 0


def measured(
    classifier: AnytimeClassifier, pictures: Pictures, options: argparse.Namespace
) -> dict[tuple[str, float], Cell]:
    """Every policy and budget on every picture; of the single paths those that are named policies."""
    equipped = dict(_policies(classifier, options))
    named = {path: words(classifier, path.resolution, path.exit_index) for path in classifier.paths}
    singles = {path: {budget: Cell() for budget in options.budgets} for path in classifier.paths}
    cells = {(policy, budget): Cell() for policy in equipped for budget in options.budgets}
    order = np.random.default_rng(options.seed).permutation(len(pictures))
    for index in track(order, description='classifying', console=Console(stderr=True)):
        [image] = pictures.load([int(index)])
        target = pictures.targets[index]
        for budget in options.budgets:
            for policy, each in equipped.items():
                answer = each.classify(image, budget=budget * 1e-3)
                taken = words(classifier, answer.resolution, answer.exit_index)
                cells[policy, budget].add(answer, taken, answer.class_index == target, answer.met)
        for path in classifier.paths:
            # Its time does not depend on the budget: one run serves all of them.
            answer = classifier.classify(image, path=path)
            for budget, cell in singles[path].items():
                in_time = answer.elapsed * 1e3 <= budget
                cell.add(answer, named[path], answer.class_index == target, in_time)
    full = max(classifier.paths, key=lambda path: path.accuracy)
    one = max(singles.values(), key=lambda each: sum(cell.right for cell in each.values()))
    for budget in options.budgets:
        cells[FULL, budget] = singles[full][budget]
        cells[ONE, budget] = one[budget]
        cells[BEST, budget] = max((each[budget] for each in singles.values()), key=lambda cell: cell.right)
    return cells


def _policies(
    classifier: AnytimeClassifier, options: argparse.Namespace
) -> Iterator[tuple[str, AnytimeClassifier]]:
    """The mode over all paths, and over parts of them: a path that is worth nothing is never aimed at."""
    yield options.mode, classifier
    exits, sides = classifier.exits, classifier.resolutions
    if exits == 1 or len(sides) == 1:
        return
    for policy, kept in (
        ('exits only', lambda r, t: r == len(sides) - 1),
        ('resolutions only', lambda r, t: t == exits - 1),
    ):

        def planners(profiles, accuracies, kept=kept):
            masked = [a if kept(*divmod(k, exits)) else 0.0 for k, a in enumerate(accuracies)]
            return Planners(profiles, masked)

        yield (
            policy,
            AnytimeClassifier(
                read_checkpoint(options.checkpoint),
                classifier.runtime,
                classifier.profiles,
                mode=options.mode,
                planners=planners,
            ),
        )


def words(classifier: AnytimeClassifier, resolution: int | None, exit_index: int | None) -> str:
    """A path of this classifier."""
    return path_text(resolution, exit_index, resolutions=len(classifier.resolutions), exits=classifier.exits)


@contextmanager
def busy() -> Iterator[None]:
    """A busy process per core."""
    with ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            process = stack.enter_context(subprocess.Popen([sys.executable, '-c', BUSY]))
            stack.callback(process.kill)
        yield


def machine() -> str:
    """The processor's name and how many of its cores there are."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return f'{len(names)} x {names[0]}' if names else platform.processor() or platform.machine()


def _table(records: Sequence[dict]) -> Table:
    table = Table(
        title=f'{records[0]["model"]} on {records[0]["machine"]}, {records[0]["runtime"]}'
        + ', beside load' * records[0]['load']
    )
    for name in ('budget', 'policy', 'right and in time', 'in time', 'infeasible', 'paths'):
        table.add_column(name, justify='left' if name in ('policy', 'paths') else 'right')
    for record in sorted(records, key=lambda record: record['budget_ms']):
        table.add_row(
            f'{record["budget_ms"]:g} ms',
            record['policy'],
            f'{record["accuracy"]:.1%}',
            f'{record["in_time"]:.1%}',
            f'{record["infeasible"]:.1%}',
            ', '.join(record['paths']) or '-',
        )
    return table


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', required=True, help='<split>/<class>/<picture>, a folder or a zip of it')
    parser.add_argument('--split', default='validation')
    parser.add_argument('--checkpoint', default=str(ROOT / 'models' / 'imagenet.safetensors'))
    parser.add_argument(
        '--budgets', type=float, nargs='+', default=[2, 3, 4, 6, 8, 10, 12, 16, 20, 30], metavar='MS'
    )
    parser.add_argument('--mode', default='adaptive', choices=('contract', 'interruptible', 'adaptive'))
    parser.add_argument('--miss-rate', type=float, default=0.01, help='default: %(default)s')
    parser.add_argument('--runtime', default='auto')
    parser.add_argument('--threads', type=int, default=1, help='that compute; 0: measured; default: 1')
    parser.add_argument('--load', action='store_true', help='beside a busy process per core')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', help='where to write the records')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())
