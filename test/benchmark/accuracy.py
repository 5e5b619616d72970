"""Accuracy against budget: a data set's pictures through the real classifier, each with a deadline.

    python test/benchmark/accuracy.py --data clothing10.zip --json OUT

Every picture is classified once per budget and policy, in an order in which budgets and policies take turns,
so that all meet the same machine. An answer counts only where it was right and in time. Policies: a mode of
the node, and for comparison `best exit only`: always the most accurate exit, whenever its answer comes. OUT
is a JSON list of flat records with the keys model, machine, runtime, policy, budget_ms, frames, accuracy,
in_time, mean_exit (1-based, of the answers in time), infeasible.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from impatient_ros.anytime import AnytimeClassifier  # noqa: E402
from training.data.labelled_pictures import read  # noqa: E402

BEST_EXIT = 'best exit only'


@dataclass
class Cell:
    """What came of one policy at one budget."""

    right: int = 0
    in_time: int = 0
    infeasible: int = 0
    exits: list[int] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    pictures = read(options.data, options.split)
    classifier = AnytimeClassifier.from_checkpoint(
        options.checkpoint, runtime=options.runtime, mode=options.mode
    )
    if pictures.labels != classifier.labels:
        print(
            f'{options.data} has the classes {pictures.labels}, the model {classifier.labels}',
            file=sys.stderr,
        )
        return 2
    order = np.random.default_rng(options.seed).permutation(len(pictures))
    cells = {(policy, budget): Cell() for policy in (options.mode, BEST_EXIT) for budget in options.budgets}
    for index in track(order, description='classifying', console=Console(stderr=True)):
        image, target = pictures.images[index], pictures.targets[index]
        for (policy, budget), cell in cells.items():
            if policy == BEST_EXIT:
                answer = classifier.classify(image)
                in_time = answer.elapsed * 1e3 <= budget
            else:
                answer = classifier.classify(image, budget=budget * 1e-3)
                in_time = answer.met
            cell.infeasible += answer.infeasible
            cell.in_time += in_time
            cell.right += in_time and answer.class_index == target
            if in_time and answer.exit_index is not None:
                cell.exits.append(answer.exit_index + 1)
    described = classifier.runtime.describe()
    records = [
        {
            'model': Path(options.checkpoint).name,
            'machine': machine(),
            'runtime': f'{described["runtime"]} ({described.get("device", "cpu")})',
            'policy': policy,
            'budget_ms': budget,
            'frames': len(pictures),
            'accuracy': cell.right / len(pictures),
            'in_time': cell.in_time / len(pictures),
            'mean_exit': float(np.mean(cell.exits)) if cell.exits else None,
            'infeasible': cell.infeasible / len(pictures),
        }
        for (policy, budget), cell in cells.items()
    ]
    if options.json:
        Path(options.json).write_text(json.dumps(records, indent=1) + '\n')
    Console(width=110 if not sys.stdout.isatty() else None).print(_table(records))
    return 0


def machine() -> str:
    """The processor's name and how many of its cores there are."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return f'{len(names)} x {names[0]}' if names else platform.processor() or platform.machine()


def _table(records: Sequence[dict]) -> Table:
    table = Table(title=f'{records[0]["model"]} on {records[0]["machine"]}, {records[0]["runtime"]}')
    for name in ('budget', 'policy', 'right and in time', 'in time', 'mean exit', 'infeasible'):
        table.add_column(name, justify='left' if name == 'policy' else 'right')
    for record in sorted(records, key=lambda record: record['budget_ms']):
        table.add_row(
            f'{record["budget_ms"]:g} ms',
            record['policy'],
            f'{record["accuracy"]:.1%}',
            f'{record["in_time"]:.1%}',
            '-' if record['mean_exit'] is None else f'{record["mean_exit"]:.1f}',
            f'{record["infeasible"]:.1%}',
        )
    return table


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', required=True, help='<split>/<class>/<picture>, a folder or a zip of it')
    parser.add_argument('--split', default='validation')
    parser.add_argument('--checkpoint', default=str(ROOT / 'models' / 'clothing10.safetensors'))
    parser.add_argument(
        '--budgets', type=float, nargs='+', default=[1, 1.5, 2, 2.5, 3, 4, 6, 8, 12, 24], metavar='MS'
    )
    parser.add_argument('--mode', default='adaptive', choices=('contract', 'interruptible', 'adaptive'))
    parser.add_argument('--runtime', default='auto')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', help='where to write the records')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())
