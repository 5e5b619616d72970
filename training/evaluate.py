"""Accuracy, calibration and expected accuracy of a checkpoint's paths on a data set, as JSON and a table.

    python -m training.evaluate --checkpoint F --data D --split test --budgets uniform,early,robot.yaml \
        --costs macs --fixed F2 F3 --json OUT
    python -m training.evaluate --checkpoint F --data D --resolutions 96,128,160,192,224 --write NEW
    python -m training.evaluate --checkpoint F --data D --split val --precision bf16 --write NEW
    python -m training.evaluate --checkpoint F --data BAG --unlabelled --teacher F1 --json OUT

The planner's rule chooses the exit by the accuracies in the checkpoint, not by those on the split that is
evaluated; temperatures are the checkpoint's, too. With --write these pictures are what the accuracies and
temperatures of all paths in a new checkpoint are measured on: take a split that nothing was trained on, and
another one to compare networks. With --precision every path is compared with single precision on the same
pictures, by a runtime that computes it natively on this machine; --write adds that to the checkpoint.

Pictures --unlabelled are a bag, a video, a folder or a zip, of which those count that training without labels
holds out; right is what the full path answers, that of --teacher or of the checkpoint itself.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from impatient_ros.budgets import NAMED_DISTRIBUTIONS
from impatient_ros.checkpoint import Checkpoint, CheckpointError, load, save
from impatient_ros.checkpoint.amending import carry_precisions
from impatient_ros.checkpoint.precisions import MEASURED
from impatient_ros.checkpoint.reading import contents_of
from impatient_ros.checkpoint.store import rounded_to_half
from impatient_ros.images.preprocessing import FITS
from impatient_ros.runtime import RuntimeUnavailableError
from impatient_ros.standard_output import run_command
from training.data.labelled_pictures import Pictures, read
from training.model.networks import module_of, trusted
from training.reporting.evaluation_table import evaluation_table
from training.risk.costs import exit_costs
from training.risk.expected_accuracy import distribution_of
from training.scoring.agreement import commonest, held_out
from training.scoring.classes import with_labels
from training.scoring.examples import examples
from training.scoring.paths import ResolutionScores, evaluate_resolutions, path_rows, sides_of
from training.scoring.precision import in_precision
from training.scoring.scored_checkpoint import ScoredCheckpoint, evaluation, expected_over_paths, score

__all__ = ['load_checkpoint', 'main']

DEVICES = ('auto', 'cpu', 'cuda')

log = logging.getLogger(__name__)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see --help. Returns 2 where the checkpoint, the data or an option cannot be used."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    if given.threads > 0:
        torch.set_num_threads(given.threads)
    try:
        result = _in_precision(given) if given.precision else _evaluated(given)
    except (ValueError, CheckpointError, RuntimeUnavailableError, OSError) as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return 2
    if given.json:
        path = Path(given.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f'{path.name}.part')
        part.write_text(json.dumps(result, indent=1), encoding='utf-8')
        os.replace(part, path)
    print(result['table'] if given.precision else evaluation_table(result))
    return 0


def _in_precision(given: argparse.Namespace) -> dict[str, Any]:
    if given.half or given.fit or given.resolutions or given.fixed or given.unlabelled:
        raise ValueError(
            '--precision changes nothing else, and wants labelled pictures: leave out --half, --fit, '
            '--resolutions, --fixed and --unlabelled'
        )
    return in_precision(
        given.checkpoint,
        read(given.data, given.split),
        given.precision,
        new=given.write,
        about=f'{Path(given.data).name}, {given.split}',
        device=given.device,
        threads=given.threads,
    )


def _evaluated(given: argparse.Namespace) -> dict[str, Any]:
    budgets = [name for name in given.budgets.split(',') if name]
    for name in budgets:
        _, unit = distribution_of(name, 1.0)
        if unit == 's' and given.costs == 'macs':
            raise ValueError(f'{name} has budgets in seconds: write --costs measured')
    if given.unlabelled and given.write:
        raise ValueError('--write wants labelled pictures: the training itself writes agreement')
    if given.hold_out < 0:
        raise ValueError(f'--hold-out is {given.hold_out}: write how many pictures count, or 0 for a tenth')
    if given.limit is not None and given.limit < 1:
        raise ValueError(f'--limit is {given.limit}: write how many pictures were learned from')
    if (given.teacher or given.hold_out or given.limit) and not given.unlabelled:
        raise ValueError(
            '--teacher, --hold-out and --limit are for pictures without labels: write --unlabelled, too'
        )
    # Of labelled pictures mistakes show before the network is built.
    labelled = None if given.unlabelled else read(given.data, given.split)
    device = _device(given.device)
    checkpoint = load_checkpoint(given.checkpoint, given.module)
    if given.fit:
        checkpoint = checkpoint.with_fit(given.fit)
    if given.half and not given.write:
        raise ValueError('--half says how --write stores weights: write both')
    if given.half:
        rounded_to_half(checkpoint.network)  # before it is measured
    if labelled is None:
        teacher = load_checkpoint(given.teacher, given.module) if given.teacher else checkpoint
        teacher.network.to(device)
        pictures = held_out(given.data, teacher, hold_out=given.hold_out, limit=given.limit)
    else:
        pictures = labelled
    pictures = with_labels(pictures, checkpoint.labels, 'the checkpoint')
    sides = _sides(given.resolutions, checkpoint)
    checkpoint.network.to(device)
    model = score(checkpoint, pictures, given.costs, given.mode)
    fixed = {}
    for path in given.fixed:
        other = load_checkpoint(path, given.module)
        other.network.to(device)
        fixed[path] = score(other, pictures, given.costs, given.mode)
    result: dict[str, Any] = {
        'name': given.name or _name(Path(given.checkpoint)),
        'checkpoint': Path(given.checkpoint).name,
        'data': Path(given.data).name,
        'split': 'held out' if given.unlabelled else given.split,
        'pictures': len(pictures),
        'relative': given.unlabelled,
        'commonest': commonest(pictures),
        'rejected': list(pictures.rejected),
        'labels': list(checkpoint.labels),
        'costs': 'macs' if given.costs == 'macs' else 'seconds',
        'mode': given.mode,
        'provenance': checkpoint.provenance,
    }
    result |= evaluation(model, budgets, fixed)
    found = _at_each(model, pictures, sides)
    temperatures = _temperatures(found, checkpoint, fit=bool(given.write))
    result['paths'] = path_rows(found, temperatures)
    if len(found) > 1:
        result |= expected_over_paths(model, found, budgets, given.costs, given.mode)
    checkpoint.network.cpu()  # where it is written, and measured for --latency
    if given.write:
        _write(given, checkpoint, found, temperatures, len(pictures))
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


def _device(name: str) -> torch.device:
    if name == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device is cuda: torch finds no GPU here; write cpu or auto')
    return torch.device('cuda' if name != 'cpu' and torch.cuda.is_available() else 'cpu')


def _sides(text: str | None, checkpoint: Checkpoint) -> tuple[int, ...]:
    """The resolutions asked for, or the checkpoint's; () where its images are no squares."""
    height, width = checkpoint.input_shape[1:]
    if height != width:
        if text:
            raise ValueError(
                f'--resolutions: images are of {height}x{width}, only squares have several sizes'
            )
        return ()
    return sides_of(text, height) if text else tuple(each.side for each in checkpoint.resolutions)


def _at_each(model: ScoredCheckpoint, pictures: Pictures, sides: Sequence[int]) -> list[ResolutionScores]:
    """The scores at every resolution; those at the largest are there already."""
    checkpoint = model.checkpoint
    own = checkpoint.resolutions[-1]
    smaller = sides[:-1]
    return [
        *(
            evaluate_resolutions(checkpoint.network, pictures, checkpoint.preprocessing, smaller)
            if smaller
            else ()
        ),
        ResolutionScores(own.side, own.macs, model.scores),
    ]


def _temperatures(
    found: Sequence[ResolutionScores], checkpoint: Checkpoint, *, fit: bool
) -> list[tuple[float, ...]]:
    """The checkpoint's own; fitted on these pictures with `fit`, and at resolutions that it does not have."""
    known = {} if fit else {each.side: each.temperatures for each in checkpoint.resolutions}
    return [known.get(each.side) or each.scores.temperatures() for each in found]


def _write(
    given: argparse.Namespace,
    checkpoint: Checkpoint,
    found: Sequence[ResolutionScores],
    temperatures: Sequence[Sequence[float]],
    pictures: int,
) -> None:
    """The checkpoint again, with the paths as they were measured."""
    output = Path(given.write)
    old = contents_of(given.checkpoint)
    output.parent.mkdir(parents=True, exist_ok=True)
    measured = f'{Path(given.data).name}, {given.split}, {pictures} pictures'
    save(
        checkpoint.network,
        output,
        labels=checkpoint.labels,
        preprocessing=checkpoint.preprocessing,
        resolutions=[each.side for each in found] if len(found) > 1 else (),
        accuracies=[each.scores.accuracies for each in found],
        temperatures=temperatures,
        provenance={**checkpoint.provenance, 'accuracy': measured, 'temperature': measured},
        half=given.half or checkpoint.half,
    )
    if not carry_precisions(old, output):
        log.warning('%s: weights or paths have changed: measure other precisions anew', output)


def _name(path: Path) -> str:
    """The default name: that of the file, or of its folder where training.train named the file."""
    return path.resolve().parent.name if path.stem == 'model' else path.stem


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m training.evaluate', description=(__doc__ or '').partition('\n')[0]
    )
    parser.add_argument('--checkpoint', required=True, help='the .safetensors file')
    parser.add_argument('--data', required=True, help='folder, zip, or torchvision:<data set>:<folder>')
    parser.add_argument('--split', default='test', help='default: %(default)s')
    parser.add_argument(
        '--unlabelled',
        action='store_true',
        help='any pictures, a bag or a video: agreement with the full path',
    )
    parser.add_argument(
        '--teacher', metavar='F', help='with --unlabelled: the network to agree with; default: the checkpoint'
    )
    parser.add_argument(
        '--hold-out',
        type=int,
        default=0,
        help='with --unlabelled: how many count, as data.hold_out said in training; default: a tenth',
    )
    parser.add_argument('--limit', type=int, help='with --unlabelled: as data.limit said in training')
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
    parser.add_argument(
        '--device', choices=DEVICES, default='auto', help='that runs the pictures; default: %(default)s'
    )
    parser.add_argument('--threads', type=int, default=0, help='of the processor; 0: as many as torch takes')
    parser.add_argument('--json', help='the file to write')
    parser.add_argument(
        '--resolutions',
        metavar='SIDES',
        help="sides in pixels to measure at, as 96,128,160,192,224; default: the checkpoint's own",
    )
    parser.add_argument(
        '--write', metavar='NEW', help='a checkpoint with all paths as they were measured on this data'
    )
    parser.add_argument(
        '--fit',
        choices=FITS,
        help='how a picture becomes a square: crop (its centre) or squash; default: as the checkpoint says',
    )
    parser.add_argument('--precision', choices=MEASURED, help='compare this one with single precision')
    parser.add_argument('--half', action='store_true', help='--write stores weights in half precision')
    return parser


if __name__ == '__main__':
    torch.set_flush_denormal(True)  # for the whole process: tiny numbers would slow it down
    run_command(main)
