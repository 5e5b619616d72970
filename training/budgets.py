"""The budgets that a robot really had, from its recorded frame_status topics.

    ros2 bag record /perception/front/frame_status        # on the robot
    python -m training.budgets BAG -o robot.yaml --checkpoint model.safetensors --costs measured
    python -m training.train fit ... --model.risk.budgets robot.yaml --model.risk.costs measured

BAG is a rosbag2 folder, an .mcap or .db3 file. The file that is written is a distribution, in seconds.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rosbags.typesys import Stores, get_typestore

from impatient_ros.budgets import Empirical
from impatient_ros.perception.frame_record import FrameRecord
from impatient_ros.replay import SourceError
from impatient_ros.replay.opened_recording import OpenedRecording
from impatient_ros.standard_output import run_command
from training.evaluate import load_checkpoint
from training.risk.costs import exit_costs
from training.risk.expected_accuracy import chosen_share

__all__ = ['RecordedBudgets', 'histogram', 'main', 'read_bag', 'subsampled']

log = logging.getLogger(__name__)

TYPE = 'diagnostic_msgs/msg/DiagnosticArray'
SUFFIX = '/frame_status'
KEPT = 1000  # samples in the file: the share of an exit is then right to 1/1000, 0.1 points


@dataclass(frozen=True)
class RecordedBudgets:
    """The budgets (s) of all recorded frames that had one, and how many frames had which outcome."""

    budgets: tuple[float, ...]
    outcomes: Counter[str]
    cameras: tuple[str, ...]

    @property
    def expired(self) -> int:
        """Frames whose deadline had passed before they were picked up: a budget of 0."""
        return sum(budget <= 0 for budget in self.budgets)


def read_bag(path: str | Path, camera: str | None = None) -> RecordedBudgets:
    """The budgets in a bag, all cameras' or one's.

    Frames that nobody tried for another reason (superseded, dropped) have no budget. A budget that was
    negative counts as 0: no exit fits either. Raises ValueError where the bag has none, OSError.
    """
    budgets: list[float] = []
    outcomes: Counter[str] = Counter()
    cameras: set[str] = set()
    for record in _records(Path(path)):
        if camera is not None and record.camera != camera:
            continue
        cameras.add(record.camera)
        outcomes[record.outcome.value] += 1
        if record.budget is not None and np.isfinite(record.budget):
            budgets.append(max(0.0, record.budget))
    if not budgets:
        seen = f' (there are {", ".join(sorted(cameras))})' if cameras else ''
        of = f' of camera {camera!r}' if camera is not None else ''
        raise ValueError(
            f'{path}: no frame_status{of} with a budget{seen}; record the topics ~/<camera>/frame_status'
        )
    return RecordedBudgets(tuple(budgets), outcomes, tuple(sorted(cameras)))


def _records(path: Path) -> Iterator[FrameRecord]:
    if not path.exists():
        raise ValueError(f'{path}: there is no such bag')
    deserialize = get_typestore(Stores.ROS2_JAZZY).deserialize_cdr
    try:
        with OpenedRecording(path) as recording:
            for remark in recording.remarks:
                log.warning('%s', remark)
            for channel in recording.channels:
                if channel.kind != TYPE or not channel.topic.endswith(SUFFIX):
                    continue
                for _, data in recording.messages(channel.topic, TYPE):
                    message: Any = deserialize(data, TYPE)
                    stamp = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
                    for status in message.status:
                        values = {item.key: item.value for item in status.values}
                        yield FrameRecord.from_values(status.hardware_id, stamp, values)
    except SourceError:
        raise
    except Exception as error:  # a damaged message shows as struct, value, index and other errors
        what = str(error) or type(error).__name__
        raise ValueError(f'{path} cannot be read as a bag with frame_status: {what}') from error


def subsampled(budgets: Sequence[float], count: int = KEPT) -> tuple[float, ...]:
    """At most `count` samples with (nearly) the same distribution: its quantiles."""
    if len(budgets) <= count:
        return tuple(sorted(budgets))
    whole = Empirical(budgets)
    return tuple(whole.quantile((k + 0.5) / count) for k in range(count))


def histogram(budgets: Sequence[float], costs: Sequence[float] = (), width: int = 48, bins: int = 16) -> str:
    """Bars of text from 0 to the largest budget; exits stand beside the bin where they begin to fit."""
    high = max(max(budgets), 1e-9)
    counts, edges = np.histogram(budgets, bins=bins, range=(0.0, high))
    lines = []
    for index, count in enumerate(counts):
        low, top = edges[index], edges[index + 1]
        last = index == bins - 1
        fitting = [str(t + 1) for t, c in enumerate(costs) if low <= c < top or (last and c == top)]
        note = f'  <- exit {", ".join(fitting)}' if fitting else ''
        bar = '#' * round(width * count / counts.max())
        lines.append(
            f'{1000 * low:8.1f} - {1000 * top:6.1f} ms |{bar:<{width}} {count / len(budgets):5.1%}{note}'
        )
    beyond = [str(t + 1) for t, c in enumerate(costs) if c > high]
    if beyond:
        lines.append(f'exit {", ".join(beyond)}: costs more than every budget')
    return '\n'.join(lines)


def _exit_values(distribution: Empirical, costs: Sequence[float], accuracies: Sequence[float]) -> str:
    """Per exit how often it would answer, and the expected accuracy that is lost without it."""
    share = chosen_share(distribution, costs, accuracies)
    worth = float(share[1:] @ np.asarray(accuracies))
    lines = [f'no exit fits in {share[0]:.1%} of the frames; expected accuracy {worth:.1%}']
    for t, cost in enumerate(costs):
        rest = [i for i in range(len(costs)) if i != t]
        without = 0.0
        if rest:
            others = [accuracies[i] for i in rest]
            without = float(
                chosen_share(distribution, [costs[i] for i in rest], others)[1:] @ np.asarray(others)
            )
        loss = worth - without
        verdict = 'pays' if loss >= 0.001 else 'could be left out'
        lines.append(
            f'exit {t + 1}: {1000 * cost:7.2f} ms, answers {share[t + 1]:6.1%} of the frames, '
            f'{100 * loss:5.2f} points lost without it: {verdict}'
        )
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see --help. Returns 2 where the bag or an option cannot be used."""
    given = _parser().parse_args(arguments)
    try:
        recorded = read_bag(given.bag, given.camera)
        costs: tuple[float, ...] = ()
        if given.checkpoint:
            checkpoint = load_checkpoint(given.checkpoint, given.module)
            if given.costs == 'macs':
                raise ValueError(
                    'budgets are in seconds: write --costs measured, or a latency profile (.json)'
                )
            costs = exit_costs(checkpoint.network, given.costs, given.mode, given.overhead)
        distribution = Empirical(subsampled(recorded.budgets))
        about = {
            'bag': Path(given.bag).name,
            'cameras': list(recorded.cameras),
            'frames': sum(recorded.outcomes.values()),
            'budgets': len(recorded.budgets),
            'unit': 's',
        }
        values = {'about': about, **distribution.to_dict()}
        values['samples'] = [round(sample, 6) for sample in distribution.samples]
        Path(given.output).write_text(
            yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100), encoding='utf-8'
        )
    except (ValueError, OSError) as error:
        print(f'budgets: {error}', file=sys.stderr)
        return 2
    outcomes = ', '.join(f'{count} {name}' for name, count in recorded.outcomes.most_common())
    cameras = ', '.join(recorded.cameras)
    print(f'{len(recorded.budgets)} budgets of {cameras} ({outcomes}), {recorded.expired} expired')
    print(histogram(recorded.budgets, costs))
    if costs:
        print(_exit_values(distribution, costs, checkpoint.accuracies))
    print(f'wrote {given.output}')
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m training.budgets', description=(__doc__ or '').partition('\n')[0]
    )
    parser.add_argument('bag', metavar='BAG', help='rosbag2 folder, .mcap or .db3 with frame_status topics')
    parser.add_argument('-o', '--output', default='budgets.yaml', help='default: %(default)s')
    parser.add_argument('--camera', help='only this camera; default: all')
    parser.add_argument('--checkpoint', help='says which of its exits pay under these budgets')
    parser.add_argument(
        '--costs', default='measured', help='measured (on this machine), or a latency profile (.json)'
    )
    parser.add_argument('--mode', default='contract', help='contract or interruptible')
    parser.add_argument(
        '--overhead', type=float, default=0.0, help='s for decoding, preprocessing, publishing'
    )
    parser.add_argument('--module', help='package.module.Class of a network of your own')
    return parser


if __name__ == '__main__':
    run_command(main)
