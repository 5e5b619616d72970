"""The learning runs that are set for a GPU: a name, and what is trained and evaluated under it.

To add one, add an entry to RUNS: its configuration, its data, and options of training.train.
"""

from __future__ import annotations

import csv
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATE = 'last.ckpt'  # what training.train resumes from
RESULTS = ('model.safetensors', 'evaluation.json')


@dataclass(frozen=True)
class LearningRun:
    """One training and what is measured of its result.

    Attributes:
        config: a file of training.train.
        data: a zip or folder below --data.
        options: of training.train.
        evaluate: options of training.evaluate; (): no evaluation beyond that of training.
    """

    config: str
    data: str
    options: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ('--split', 'test')


RUNS = {
    'cifar10': LearningRun('config/train/cifar10_gpu.yaml', 'cifar10.zip'),
    'cifar100': LearningRun('config/train/cifar100_gpu.yaml', 'cifar100.zip'),
    # Two epochs on generated pictures: whether training runs at all on a machine.
    'smoke': LearningRun(
        'config/train/smoke.yaml', 'smoke', ('--trainer.accelerator', 'auto'), ('--split', 'validation')
    ),
}


def prepare(name: str, data: Path, state: Path, out: Path) -> Path:
    """The run's folder, `out`/`name`, with what an earlier part of it left in `state`/`name`.

    Raises ValueError where the data or the configuration are missing.
    """
    run = RUNS[name]
    if not (ROOT / run.config).is_file():
        raise ValueError(f'{run.config} is missing')
    if name == 'smoke' and not (data / run.data).is_dir():
        sys.path.insert(0, str(ROOT))
        from training.smoke import write

        write(data / run.data, {'train': 40, 'validation': 20})
    if not (data / run.data).exists():
        raise ValueError(f'{data / run.data} is missing: put it there, or say with --data where it is')
    folder, before = out / name, state / name
    if before.is_dir() and before.resolve() != folder.resolve() and not (folder / STATE).exists():
        shutil.copytree(before, folder, dirs_exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def commands(name: str, data: Path, folder: Path) -> list[list[str]]:
    """What is left to do: training, which resumes by itself, and the evaluation of its result."""
    run = RUNS[name]
    source = str(data / run.data)
    train = [
        *('-m', 'training.train', 'fit', '--config', str(ROOT / run.config), '--data.source', source),
        *('--output', str(folder), '--metrics', 'none', '--keep', 'last', *run.options),
    ]
    model, found = (folder / each for each in RESULTS)
    evaluate = ['-m', 'training.evaluate', '--checkpoint', str(model), '--data', source, '--json', str(found)]
    left = [] if model.exists() else [train]
    if run.evaluate and not found.exists():
        left.append([*evaluate, *run.evaluate])
    return left


def progress(folder: Path) -> str:
    """How far a run is, for people."""
    curve = folder / 'curve.csv'
    rows = list(csv.DictReader(curve.read_text().splitlines())) if curve.exists() else []
    last = ', '.join(f'{key} {value}' for key, value in rows[-1].items()) if rows else 'nothing yet'
    done = [each for each in RESULTS if (folder / each).exists()]
    return f'{len(rows)} epochs; {last}; {", ".join(done) or "not finished"}'
