"""Accuracy, calibration and expected accuracy of a checkpoint's exits on a data set, as JSON and a table.

    python -m training.evaluate --checkpoint F --data D --split test --budgets uniform,early,robot.yaml \
        --costs macs --fixed F2 F3 --json OUT

The planner's rule chooses the exit by the accuracies in the checkpoint, not by those on the split that is
evaluated; temperatures are the checkpoint's, too.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from impatient_ros.budgets import NAMED_DISTRIBUTIONS, BudgetDistribution
from impatient_ros.checkpoint import Checkpoint, CheckpointError, load
from impatient_ros.checkpoint.reading import contents_of
from impatient_ros.standard_output import run_command
from training.data.labelled_pictures import DataError, Pictures, read
from training.model.networks import module_of, trusted
from training.risk.costs import exit_costs
from training.risk.expected_accuracy import best_single_exit, chosen_share, distribution_of, expected_accuracy
from training.scoring.calibration import reliability
from training.scoring.examples import examples
from training.scoring.exit_scores import Evaluation, evaluate

__all__ = ['ScoredCheckpoint', 'evaluation', 'load_checkpoint', 'main', 'score']

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoredCheckpoint:
    """A checkpoint, its scores on a split, and the cost of each exit in the unit asked for."""

    checkpoint: Checkpoint
    scores: Evaluation
    costs: tuple[float, ...]

    @property
    def trained(self) -> tuple[int, ...]:
        """The exits (0-based) that were trained; all where the checkpoint does not say."""
        own = self.checkpoint.provenance.get('trained_exits')
        return tuple(own) if own else tuple(range(len(self.costs)))


def load_checkpoint(path: str | Path, module: str | None = None) -> Checkpoint:
    """Read a checkpoint of this command's training, also where its network was made from a module.

    Modules of this project and of torchvision are built as the checkpoint names them; another one only where
    `module` (package.module.Class) says the same. Raises CheckpointError, ValueError, OSError.
    """
    description = contents_of(path).description
    if description['network']['backbone']['source'] != 'module':
        return load(path)
    about = description['provenance'].get('network') or {}
    name = module or str(about.get('module', ''))
    if module is None and not trusted(name):
        raise ValueError(
            f'{path} was made from a module, {name or description["network"]["backbone"].get("class")}: '
            'write --module package.module.Class'
        )
    options = about.get('module_options') or {}
    return load(path, module=module_of(name, options, description['network']['classes']))


def score(
    checkpoint: Checkpoint, pictures: Pictures, costs: str = 'macs', mode: str = 'contract'
) -> ScoredCheckpoint:
    """Run the pictures through the network. Raises ValueError where its labels are others."""
    if checkpoint.labels != pictures.labels:
        odd = sorted(set(checkpoint.labels) ^ set(pictures.labels)) or ['their order']
        raise DataError(f'the checkpoint and the data differ in their classes: {", ".join(odd)}')
    seconds = exit_costs(checkpoint.network, costs, mode)
    return ScoredCheckpoint(
        checkpoint, evaluate(checkpoint.network, pictures, checkpoint.preprocessing), seconds
    )


def evaluation(
    model: ScoredCheckpoint, budgets: Sequence[str], fixed: Mapping[str, ScoredCheckpoint] | None = None
) -> dict[str, Any]:
    """All measurements, ready for JSON; `training/README.md` explains the keys. Raises ValueError."""
    checkpoint, scores = model.checkpoint, model.scores
    temperatures, accuracies = checkpoint.temperatures, scores.accuracies
    result: dict[str, Any] = {
        'exits': [
            {
                'accuracy': accuracies[t],
                'ece': after,
                'ece_uncalibrated': before,
                'nll': scores.negative_log_likelihoods(temperatures)[t],
                'nll_uncalibrated': scores.negative_log_likelihoods()[t],
                'macs': checkpoint.network.costs('contract')[t],
                'cost': model.costs[t],
                'validation_accuracy': checkpoint.accuracies[t],
                'temperature': temperatures[t],
                'trained': t in model.trained,
                'class_accuracy': scores.class_accuracies()[t],
                'reliability': reliability(scores.logits[t], scores.target, temperatures[t]),
                'reliability_uncalibrated': reliability(scores.logits[t], scores.target),
            }
            for t, (before, after) in enumerate(
                zip(scores.calibration_errors(), scores.calibration_errors(temperatures), strict=True)
            )
        ],
        'expected_accuracy': {},
        'exit_share': {},
        'best_single_exit': {},
        'best_single_exit_index': {},
        'monotonicity': scores.monotonicity(temperatures),
    }
    if fixed:
        result |= {'best_fixed': {}, 'best_fixed_name': {}}
    for name in budgets:
        distribution, _ = distribution_of(name, model.costs[-1])
        share = _share(model, distribution)
        result['exit_share'][name] = share
        result['expected_accuracy'][name] = expected_accuracy(share, accuracies)
        trained = model.trained
        best, index = best_single_exit(
            distribution, [model.costs[t] for t in trained], [accuracies[t] for t in trained]
        )
        result['best_single_exit'][name], result['best_single_exit_index'][name] = best, trained[index]
        if fixed:
            # Budgets do not depend on the network: all are compared under the distribution of `model`.
            values = {key: _fixed_accuracy(other, distribution) for key, other in fixed.items()}
            winner = max(values, key=values.__getitem__)
            result['best_fixed'][name], result['best_fixed_name'][name] = values[winner], winner
    return result


def _share(model: ScoredCheckpoint, distribution: BudgetDistribution) -> list[float]:
    """How often the planner chooses "no answer" and each exit; it never chooses an untrained one."""
    trained = model.trained
    shares = chosen_share(
        distribution, [model.costs[t] for t in trained], [model.checkpoint.accuracies[t] for t in trained]
    ).tolist()
    share = [shares[0]] + [0.0] * len(model.costs)
    for t, value in zip(trained, shares[1:], strict=True):
        share[t + 1] = value
    return share


def _fixed_accuracy(fixed: ScoredCheckpoint, distribution: BudgetDistribution) -> float:
    """The expected accuracy of a network that always answers with its deepest trained exit."""
    t = max(fixed.trained)
    return (1 - distribution.below(fixed.costs[t])) * fixed.scores.accuracies[t]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see --help. Returns 2 where the checkpoint, the data or an option cannot be used."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    if given.threads > 0:
        torch.set_num_threads(given.threads)
    try:
        result = _evaluated(given)
    except (ValueError, CheckpointError, OSError) as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return 2
    if given.json:
        path = Path(given.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f'{path.name}.part')
        part.write_text(json.dumps(result, indent=1), encoding='utf-8')
        os.replace(part, path)
    print(_table(result))
    return 0


def _evaluated(given: argparse.Namespace) -> dict[str, Any]:
    budgets = [name for name in given.budgets.split(',') if name]
    for name in budgets:
        _, unit = distribution_of(name, 1.0)
        if unit == 's' and given.costs == 'macs':
            raise ValueError(f'{name} has budgets in seconds: write --costs measured')
    pictures = read(given.data, given.split)
    checkpoint = load_checkpoint(given.checkpoint, given.module)
    model = score(checkpoint, pictures, given.costs, given.mode)
    fixed = {
        path: score(load_checkpoint(path, given.module), pictures, given.costs, given.mode)
        for path in given.fixed
    }
    result: dict[str, Any] = {
        'name': given.name or _name(Path(given.checkpoint)),
        'checkpoint': Path(given.checkpoint).name,
        'data': Path(given.data).name,
        'split': given.split,
        'pictures': len(pictures),
        'rejected': list(pictures.rejected),
        'labels': list(checkpoint.labels),
        'costs': 'macs' if given.costs == 'macs' else 'seconds',
        'mode': given.mode,
        'provenance': checkpoint.provenance,
    }
    result |= evaluation(model, budgets, fixed)
    for name, share in result['exit_share'].items():
        if not any(share[1:]):
            log.warning('%s: no budget reaches even the first exit; are they in the unit of --costs?', name)
    latency = exit_costs(checkpoint.network, 'measured', given.mode) if given.latency else None
    if given.costs != 'macs':
        latency = model.costs
    if latency is not None:
        for row, value in zip(result['exits'], latency, strict=True):
            row['latency'] = value
    result['examples'] = examples(model.scores, checkpoint, pictures, given.examples)
    return result


def _name(path: Path) -> str:
    """The default name: that of the file, or of its folder where training.train named the file."""
    return path.resolve().parent.name if path.stem == 'model' else path.stem


def _table(result: Mapping[str, Any]) -> str:
    lines = [f'{result["name"]}: {result["pictures"]} pictures of {result["data"]}, {result["split"]}']
    lines.append(f'{"exit":>4} {"accuracy":>9} {"ECE":>7} {"before":>7} {"NLL":>7} {"MMACs":>8}  latency')
    for number, row in enumerate(result['exits'], 1):
        latency = f'{1000 * row["latency"]:6.2f} ms' if 'latency' in row else '-'
        lines.append(
            f'{number:>4} {100 * row["accuracy"]:8.2f}% {row["ece"]:7.3f} {row["ece_uncalibrated"]:7.3f} '
            f'{row["nll"]:7.3f} {row["macs"] / 1e6:8.2f}  {latency}'
        )
    for name, value in result['expected_accuracy'].items():
        line = f'{name}: {100 * value:.2f}%, best single exit {100 * result["best_single_exit"][name]:.2f}%'
        if 'best_fixed' in result:
            line += f', best fixed network {100 * result["best_fixed"][name]:.2f}%'
        lines.append(line)
    decline = result['monotonicity']
    lines.append(
        f'falls of 0.2 or more: {100 * decline["falls"]:.2f}%, right to wrong: {100 * decline["flips"]:.2f}%'
    )
    return '\n'.join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m training.evaluate', description=(__doc__ or '').partition('\n')[0]
    )
    parser.add_argument('--checkpoint', required=True, help='the .safetensors file')
    parser.add_argument('--data', required=True, help='folder, zip, or torchvision:<data set>:<folder>')
    parser.add_argument('--split', default='test', help='default: %(default)s')
    parser.add_argument(
        '--budgets',
        default=','.join(NAMED_DISTRIBUTIONS),
        help='named distributions and .yaml files, separated by commas; default: %(default)s',
    )
    parser.add_argument(
        '--costs', default='macs', help='macs, measured, or a latency profile (.json); default: %(default)s'
    )
    parser.add_argument('--mode', default='contract', help='contract or interruptible; default: %(default)s')
    parser.add_argument(
        '--fixed', nargs='+', default=[], metavar='F', help='checkpoints of separately trained fixed networks'
    )
    parser.add_argument('--latency', action='store_true', help='measure latencies beside the MACs')
    parser.add_argument('--module', help='package.module.Class of a network of your own')
    parser.add_argument(
        '--name', help='what the report calls it; default: the name of the file or of its folder'
    )
    parser.add_argument(
        '--examples',
        type=int,
        default=6,
        help='pictures of each kind in the report; default: %(default)s',
    )
    parser.add_argument('--threads', type=int, default=0, help='of the processor; 0: as many as torch takes')
    parser.add_argument('--json', help='the file to write')
    return parser


if __name__ == '__main__':
    torch.set_flush_denormal(True)  # for the whole process: tiny numbers would slow it down
    run_command(main)
