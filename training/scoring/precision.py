"""What a network's paths are worth in another precision, beside single precision on the same pictures.

Executed by a runtime, picture by picture, as in the running node: what it computes natively is what counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from impatient_ros.anytime.loading import source_of
from impatient_ros.checkpoint import CheckpointFile, Resolution, read
from impatient_ros.checkpoint.amending import add_precision
from impatient_ros.checkpoint.precisions import Drop, PrecisionRecord
from impatient_ros.runtime import Runtime, select_runtime
from training.data.labelled_pictures import Pictures
from training.scoring.classes import with_labels
from training.scoring.exit_scores import Evaluation

__all__ = ['compared', 'in_precision', 'paired_drop', 'precision_table', 'scores_on']

BATCH = 64  # pictures in memory at a time
Z = 1.959964  # of the standard normal distribution, for 95 %


def in_precision(
    checkpoint: str | Path,
    pictures: Pictures,
    precision: str,
    *,
    new: str | Path | None = None,
    about: str = '',
    device: str = 'auto',
    threads: int = 0,
) -> dict[str, Any]:
    """Every path of a checkpoint in another precision, ready for JSON; 'table' is for people.

    Args:
        new: the file that is written with the record; None: none.
        about: which pictures these are.

    Raises:
        ValueError: the checkpoint lacks one of their classes.
        RuntimeUnavailableError: nothing here computes natively in that precision.
        CheckpointError, OSError: a file cannot be used.
    """
    file = read(checkpoint)
    pictures = with_labels(pictures, file.labels, 'the checkpoint')
    source = source_of(file, checkpoint)
    runtime = select_runtime(source, 'auto', device, threads=threads, precision=precision)
    on = runtime.describe()
    other = scores_on(runtime, file.resolutions, pictures)
    plain = select_runtime(source, runtime.name, device, threads=threads, precision='f32')
    measured = f'{about}, {len(pictures)} pictures, {runtime.name} on {on.get("gpu", on["processor"])}'
    record = compared(scores_on(plain, file.resolutions, pictures), other, measured)
    if new is not None:
        Path(new).parent.mkdir(parents=True, exist_ok=True)
        add_precision(checkpoint, new, precision, record)
    return {
        'checkpoint': Path(checkpoint).name,
        'precision': precision,
        'accuracy_kept': record.accuracy_kept,
        'resolutions': [each.side for each in file.resolutions],
        'runtime': on,
        **record.to_dict(),
        'table': precision_table(file, precision, record),
    }


def scores_on(
    runtime: Runtime, resolutions: Sequence[Resolution], pictures: Pictures
) -> tuple[Evaluation, ...]:
    """Every exit's scores of every picture, per resolution."""
    rows: list[list[list[torch.Tensor]]] = [[[] for _ in range(runtime.exits)] for _ in resolutions]
    for start in range(0, len(pictures), BATCH):
        for picture in pictures.load(range(start, min(start + BATCH, len(pictures)))):
            for each, found in zip(resolutions, rows, strict=True):
                run = runtime.begin(picture, each.preprocessing)
                for exit_index in range(runtime.exits):
                    run.stage()
                    found[exit_index].append(torch.from_numpy(run.exit()))
    target = torch.from_numpy(pictures.targets)
    return tuple(Evaluation(tuple(map(torch.stack, found)), target) for found in rows)


def compared(single: Sequence[Evaluation], other: Sequence[Evaluation], measured: str) -> PrecisionRecord:
    """The record of a precision, from its scores and those in single precision, both per resolution.

    Args:
        measured: on which pictures and by what, for people.
    """
    drops = tuple(
        tuple(paired_drop(a, b) for a, b in zip(one.right, two.right, strict=True))
        for one, two in zip(single, other, strict=True)
    )
    return PrecisionRecord(
        pictures=len(single[0].target),
        measured=measured,
        accuracies=tuple(each.accuracies for each in other),
        temperatures=tuple(each.temperatures() for each in other),
        drops=drops,
    )


def paired_drop(single: torch.Tensor, other: torch.Tensor) -> Drop:
    """By how much `other` is less often right than `single`, both bool [N], on the same N pictures.

    The interval is that of Agresti and Min, "Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 24 (2005): half a picture is added to each of the four cells. Without
    that the interval would be empty where all answers agree.
    """
    count = len(single)
    lost, gained = int((single & ~other).sum()), int((other & ~single).sum())
    centre = (lost - gained) / (count + 2)
    spread = math.sqrt(max(0.0, lost + gained + 1 - (lost - gained) ** 2 / (count + 2))) / (count + 2)
    mean = (lost - gained) / count
    low, high = max(-1.0, centre - Z * spread), min(1.0, centre + Z * spread)
    return Drop(mean, min(low, mean), max(high, mean))


def precision_table(file: CheckpointFile, precision: str, record: PrecisionRecord) -> str:
    """For people; percent and points."""
    lines = [f'{precision}: {record.measured}']
    lines.append(f'{"path":<24}{"f32":>9}{precision:>9}{"drop":>8}   95 % interval   temperature')
    for number, each in enumerate(file.resolutions):
        for exit_index, drop in enumerate(record.drops[number]):
            accuracy = record.accuracies[number][exit_index]
            path = f'{each.side} px, exit {exit_index + 1} of {file.exits}'
            lines.append(
                f'{path:<24}{100 * (accuracy + drop.mean):>8.2f}%{100 * accuracy:>8.2f}%'
                f'{100 * drop.mean:>8.2f}'
                f'   {100 * drop.low:>5.2f} to {100 * drop.high:>5.2f}'
                f'   {record.temperatures[number][exit_index]:>10.2f}'
            )
    kept = 'is kept' if record.accuracy_kept else 'is not shown to be kept'
    auto = 'may take it' if record.accuracy_kept else 'does not take it'
    lines.append(
        f'the accuracy {kept} (to 0.2 points at every path, to 0.5 at the end of the interval, on at least '
        f'1,000 pictures): precision auto {auto}'
    )
    return '\n'.join(lines)
