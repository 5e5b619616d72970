"""The budgets that a robot really had, from its recorded frame_status topics, and what they call for.

    ros2 bag record /perception/front/frame_status        # on the robot
    python -m training.budgets BAG -o robot.yaml --checkpoint model.safetensors --costs profile.json
    python -m training.train fit ... --model.risk.budgets robot.yaml --model.risk.costs profile.json

BAG is a rosbag2 folder, an .mcap or .db3 file. The file that is written is a distribution, in seconds: with a
checkpoint that of what overhead and slowdown left to the network, otherwise that of the budgets as they were.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from impatient_ros.budgets import Empirical
from impatient_ros.checkpoint import CheckpointError
from impatient_ros.standard_output import run_command
from training.evaluate import load_checkpoint
from training.recorded.advice import RobotPaths, judged, what_pays
from training.recorded.frames import TYPE, RecordedFrames, read_bag
from training.recorded.load_model import LoadModel, fit
from training.recorded.text import advice_text, histogram, judged_text, model_text, wide
from training.risk.costs import increasing, path_costs

__all__ = ['TYPE', 'main', 'subsampled']

KEPT = 1000  # samples in the file: the share of a path is then right to 1/1000, 0.1 points


def subsampled(budgets: Sequence[float], count: int = KEPT) -> tuple[float, ...]:
    """At most `count` samples with (nearly) the same distribution: its quantiles."""
    if len(budgets) <= count:
        return tuple(sorted(budgets))
    whole = Empirical(budgets)
    return tuple(whole.quantile((k + 0.5) / count) for k in range(count))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see --help. Returns 2 where the bag or an option cannot be used."""
    given = _parser().parse_args(arguments)
    try:
        frames = read_bag(given.bag, given.camera)
        about: dict[str, Any] = {
            'bag': Path(given.bag).name,
            'cameras': list(frames.cameras),
            'frames': sum(frames.outcomes.values()),
            'budgets': len(frames.records),
            'unit': 's',
        }
        width = wide(given.columns)
        outcomes = ', '.join(f'{count} {name}' for name, count in frames.outcomes.most_common())
        head = f'{len(frames.records)} budgets of {", ".join(frames.cameras)} ({outcomes}), '
        parts = [textwrap.fill(head + f'{frames.expired} expired', width)]
        found: dict[str, Any] = {**about, 'outcomes': dict(frames.outcomes), 'expired': frames.expired}
        if given.checkpoint:
            distribution, text, more = _with_checkpoint(given, frames, width)
            parts += text
            found |= more
            about |= {'overhead': more['model']['overhead'], 'costs': more['costs']}
        else:
            parts.append(histogram(frames.budgets, {}, width))
            distribution = Empirical(subsampled(frames.budgets.tolist())).to_dict()
            distribution['samples'] = [round(sample, 6) for sample in distribution['samples']]
            parts.append('Overhead and slowdown are not counted: that takes --checkpoint and --costs.')
        Path(given.output).write_text(
            yaml.safe_dump(
                {'about': about, **distribution}, sort_keys=False, default_flow_style=None, width=100
            ),
            encoding='utf-8',
        )
        if given.json:
            Path(given.json).write_text(json.dumps(found, indent=1), encoding='utf-8')
    except (ValueError, OSError, CheckpointError) as error:
        print(f'budgets: {error}', file=sys.stderr)
        return 2
    print('\n\n'.join(parts))
    print(f'wrote {given.output}' + (f' and {given.json}' if given.json else ''))
    return 0


def _with_checkpoint(
    given: argparse.Namespace, frames: RecordedFrames, width: int
) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    """What is left to the network, as the file has it; the text for people; the findings for JSON."""
    robot, provenance = _robot_paths(given)
    others = [(Path(each).name, read_bag(each, given.camera)) for each in given.judge]
    for each in (frames, *(each for _, each in others)):
        each.answers(robot.paths)  # what another model recorded is refused
    first, second = frames.halves()
    text: list[str] = []
    results: list[dict[str, Any]] = []
    try:
        model = _fitted(frames, robot)
    except ValueError as error:
        # Of few frames only the recorded slowdown is known.
        model = LoadModel()
        text = [textwrap.fill(f'Overhead is taken for 0, since it cannot be fitted: {error}.', width)]
    else:
        try:
            half = _fitted(first, robot)
            results = [
                judged(name, each, half, robot)
                for name, each in (('second half of the bag', second), *others)
            ]
        except ValueError as error:
            text = [textwrap.fill(f'How well that fits other frames cannot be judged: {error}.', width)]
    costs = model.costs(robot.costs)
    distribution = model.budgets(frames).thinned(KEPT)
    pays = what_pays(distribution, model, robot, provenance)
    named = dict(zip(robot.names, costs, strict=True))
    text = [
        histogram(frames.budgets, named, width),
        *text,
        model_text(model, frames.slowdowns, width),
        *([judged_text(results, robot, width)] if results else []),
        advice_text(pays, robot, costs, width),
    ]
    found = {'model': asdict(model), 'judged': results, **pays, 'costs': [round(c, 7) for c in costs]}
    found['paths'] = [
        {'resolution': side, 'exit_index': t, 'cost': c, 'accuracy': a}
        for (side, t), c, a in zip(robot.paths, costs, robot.accuracies, strict=True)
    ]
    return distribution.to_dict(), text, found


def _fitted(frames: RecordedFrames, robot: RobotPaths) -> LoadModel:
    return fit(frames, robot.paths, robot.costs, robot.accuracies)


def _robot_paths(given: argparse.Namespace) -> tuple[RobotPaths, dict[str, Any]]:
    """The checkpoint's paths and what they cost, and where it comes from. Raises ValueError, OSError."""
    if given.costs == 'macs':
        raise ValueError('budgets are in seconds: write --costs measured, or a latency profile (.json)')
    checkpoint = load_checkpoint(given.checkpoint, given.module)
    sides = [each.side for each in checkpoint.resolutions]
    networks = [checkpoint.network if side == sides[-1] else checkpoint.network.at(side) for side in sides]
    exits = len(checkpoint.network.exits)
    costs = path_costs(networks, given.costs, given.mode)
    # What is measured of one pass may fall from an exit to the next by chance.
    costs = tuple(
        c for start in range(0, len(costs), exits) for c in increasing(costs[start : start + exits])
    )
    accuracies = tuple(float(a) for each in checkpoint.resolutions for a in each.accuracies)
    paths = tuple((side, t) for side in sides for t in range(exits))
    return RobotPaths(paths, costs, accuracies, 1 / len(checkpoint.labels)), dict(checkpoint.provenance)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m training.budgets', description=(__doc__ or '').partition('\n')[0]
    )
    parser.add_argument('bag', metavar='BAG', help='rosbag2 folder, .mcap or .db3 with frame_status topics')
    parser.add_argument('-o', '--output', default='budgets.yaml', help='default: %(default)s')
    parser.add_argument('--json', metavar='FILE', help='the findings, for programs')
    parser.add_argument('--camera', help='only this camera; default: all')
    parser.add_argument(
        '--checkpoint',
        help='that ran on the robot: overhead and slowdown are fitted, and what would pay is said',
    )
    parser.add_argument(
        '--costs',
        default='measured',
        help="the robot's latency profile (.json, from ~/.cache/impatient_ros/latency there), or measured "
        '(on this machine); default: %(default)s',
    )
    parser.add_argument(
        '--judge',
        metavar='BAG',
        nargs='+',
        default=[],
        help='other bags to judge the fit on, of another load, say',
    )
    parser.add_argument('--mode', default='contract', help='contract or interruptible')
    parser.add_argument('--module', help='package.module.Class of a network of your own')
    parser.add_argument('--columns', type=int, help="width of the text, 60 to 200; default: the terminal's")
    return parser


if __name__ == '__main__':
    run_command(main)
