"""Runs a table of trainings and evaluations, one process per core; an interrupted table is resumed.

    python -m training.experiments --data cifar10.zip --output runs/cifar10
    python -m training.experiments --output runs/cifar10 --table-only     # the table of what is there
    python -m training.experiments --comparison paths --config config/train/cifar10_paths.yaml ...

Every run has a folder with its checkpoint and `evaluation.json`. A run that has its evaluation is not
repeated, an interrupted one is resumed. `table.md` and `table.json` are written again after every run.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import yaml

from impatient_ros.standard_output import run_command
from training.experiment_plans import JOINT, SEVERAL, Run, epochs_of, path_plan, placing_epochs, plan
from training.reporting.experiment_table import load_runs, markdown, summary
from training.reporting.path_table import load_path_runs, path_markdown, path_summary

__all__ = ['Experiment', 'main', 'run_all']

log = logging.getLogger(__name__)

COMPARISONS = ('methods', 'paths')
EPOCHS = '--trainer.max_epochs'
VARIED = (
    EPOCHS,
    '--model.network.resolutions',
    '--model.network.exits',
    '--model.risk.budgets',
)
EVALUATED = 'evaluation.json'


@dataclass(frozen=True)
class Experiment:
    """The configuration, the data and the output folder that all runs share."""

    config: str
    data: str
    split: str
    output: Path
    more: tuple[str, ...] = ()
    comparison: str = 'methods'

    def done(self, folder: str) -> bool:
        return (self.output / folder / EVALUATED).exists()

    def run(self, run: Run) -> float:
        """Train and evaluate in processes of their own, each with one thread. Seconds; RuntimeError."""
        folder = self.output / run.folder
        folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        start = (
            ('--model.network.start', str(self.output / run.after / 'model.safetensors')) if run.after else ()
        )
        # Runs differ in budgets and are to have the same exits, but for those that place them; the
        # configuration may still say which.
        fit = ['training.train', 'fit', '--model.network.cuts', 'even']
        fit += ['--config', self.config, '--data.source', self.data]
        fit += [
            '--output',
            str(folder),
            '--seed_everything',
            str(run.seed),
            '--threads',
            '1',
            '--metrics',
            'none',
            '--keep',
            'last',  # every run of a table has learnt the same number of epochs
            '--data.workers',
            '0',  # every core has a run of its own
        ]
        score = ['training.evaluate', '--checkpoint', str(folder / 'model.safetensors'), '--data', self.data]
        score += ['--split', self.split, '--threads', '1', '--name', run.folder]
        with open(folder / 'log.txt', 'a', encoding='utf-8') as log_file:
            for command in (
                [*fit, *run.options, *start, *self.more],
                [*score, '--json', str(folder / EVALUATED)],
            ):
                environ = os.environ | {'OMP_NUM_THREADS': '1'}
                done = subprocess.run(
                    [sys.executable, '-m', *command], env=environ, stdout=log_file, stderr=subprocess.STDOUT
                )
                if done.returncode:
                    raise RuntimeError(f'{run.folder} failed, see {folder / "log.txt"}')
        return time.monotonic() - started


def run_all(experiment: Experiment, runs: Sequence[Run], processes: int) -> list[str]:
    """Run what has no evaluation yet, `processes` at a time; returns the folders of runs that failed."""
    missing = [run for run in runs if not experiment.done(run.folder)]
    log.info('%d of %d runs to do, %d at a time', len(missing), len(runs), processes)
    failed: list[str] = []
    running: dict[Future[float], Run] = {}
    with ThreadPoolExecutor(processes) as pool:
        while missing or running:
            for run in list(missing):
                if run.after in failed:
                    missing.remove(run)
                    failed.append(run.folder)
                    log.error('%s needs %s, which failed', run.folder, run.after)
                elif len(running) < processes and (run.after is None or experiment.done(run.after)):
                    missing.remove(run)
                    running[pool.submit(experiment.run, run)] = run
            if not running:
                break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                run = running.pop(future)
                try:
                    log.info('%s: %.0f s; %d left', run.folder, future.result(), len(missing) + len(running))
                except RuntimeError as error:
                    failed.append(run.folder)
                    log.error('%s', error)
            write_table(experiment.output, experiment.comparison)
    return failed + [run.folder for run in missing]


def write_table(output: Path, comparison: str) -> str:
    """Write `table.json` and `table.md` of the finished runs; returns the latter."""
    if comparison == 'paths':
        found = path_summary(load_path_runs(output, EVALUATED))
        text = path_markdown(found)
    else:
        found = summary(load_runs(output, EVALUATED))
        text = markdown(found)
    (output / 'table.json').write_text(json.dumps(found, indent=1), encoding='utf-8')
    (output / 'table.md').write_text(text, encoding='utf-8')
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see --help. Returns 1 where a run failed."""
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', datefmt='%H:%M:%S')
    given, more = _parser().parse_known_args(arguments)
    output = Path(given.output)
    if given.table_only:
        print(write_table(output, given.comparison))
        return 0
    if not given.data:
        print('experiments: write --data, the data set', file=sys.stderr)
        return 2
    seeds = [int(seed) for seed in given.seeds.split(',')]
    several = {} if given.several is None else {'several': given.several.split(',')}
    configuration = yaml.safe_load(Path(given.config).read_text(encoding='utf-8'))
    if given.comparison == 'paths':
        varied = [option for option in more if option.partition('=')[0] in VARIED]
        if varied:
            print(f'experiments: the runs differ in {varied[0]}: write it into --config', file=sys.stderr)
            return 2
        runs = path_plan(configuration, seeds, **several)
    else:
        own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        own.add_argument(EPOCHS, dest='epochs', type=int, default=epochs_of(configuration))
        found, more = own.parse_known_args(more)
        try:
            runs = plan(
                given.exits,
                seeds,
                found.epochs,
                distributions=given.budgets.split(','),
                placing=placing_epochs(configuration, given.data, more),
                **several,
            )
        except ValueError as error:
            print(f'experiments: {error}', file=sys.stderr)
            return 2
    if given.only:
        runs = [run for run in runs if run.name in given.only.split(',')]
    experiment = Experiment(given.config, given.data, given.split, output, tuple(more), given.comparison)
    failed = run_all(experiment, runs, given.processes)
    print(write_table(output, given.comparison))
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m training.experiments',
        description=(__doc__ or '').partition('\n')[0],
        epilog='Further options go to training.train, such as --trainer.max_epochs 10.',
    )
    parser.add_argument(
        '--comparison',
        choices=COMPARISONS,
        default='methods',
        help='joint training with its baselines, or exits, resolutions and both; default: %(default)s',
    )
    parser.add_argument('--config', default='config/train/cifar10.yaml', help='default: %(default)s')
    parser.add_argument('--data', help='folder, zip, or torchvision:<data set>:<folder>')
    parser.add_argument('--split', default='test', help='to evaluate on; default: %(default)s')
    parser.add_argument('--output', default='runs/cifar10', help='folder of all runs; default: %(default)s')
    parser.add_argument('--exits', type=int, default=5, help='as in the configuration; default: %(default)s')
    parser.add_argument('--seeds', default='0,1,2', help='default: %(default)s')
    parser.add_argument(
        '--several', help=f'runs (or distributions) that all seeds have; default: {",".join(SEVERAL)}'
    )
    parser.add_argument(
        '--budgets', default=','.join(JOINT), help='that joint training is for; default: %(default)s'
    )
    parser.add_argument('--only', help='names of runs, such as joint-early,separate; default: all')
    parser.add_argument('--processes', type=int, default=os.cpu_count() or 1, help='at a time')
    parser.add_argument(
        '--table-only', action='store_true', help='run nothing; only the table of the finished runs'
    )
    return parser


if __name__ == '__main__':
    run_command(main)
