"""The tables for people in a folder of results."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

from benchmark.tables import markdown  # noqa: E402
from benchmark.targets import targets  # noqa: E402

__all__ = ['readme']


def readme(
    machine: Mapping[str, Any],
    *,
    speed: Sequence[dict[str, Any]] = (),
    deadlines: Sequence[Mapping[str, Any]] = (),
    tests: str = '',
    learning: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """README.md of the folder, from what there is."""
    name = machine['gpu'] or f'no GPU (dry run on {machine["processor"]})'
    lines = [
        f'# {name}',
        '',
        f'Driver {machine["driver"]}, torch {machine["torch"]}, CUDA {machine["cuda"]}, '
        f'cuDNN {machine["cudnn"]}, {machine["cores"]} cores of {machine["processor"]}. '
        'Made by `gpu/run.py`; see gpu/README.md.',
        '',
    ]
    lines += [f'- {note}' for note in notes] + ([''] if notes else [])
    if tests:
        lines += ['## Tests', '', f'`{_last(tests)}`', '']
    if speed:
        f32 = 'TF32' if machine['tf32_convolutions'] else 'full'
        text = [*targets(list(speed)), '', markdown(list(speed), name)]
        lines += ['## Speed', '', f'Convolutions in f32 are {f32}.', '', *text]
    if deadlines:
        lines += ['## Deadlines', '', *_deadlines(deadlines), '']
    if learning:
        lines += ['## Learning', '', *(f'- {run}: {text}' for run, text in learning.items()), '']
    return '\n'.join(lines).rstrip() + '\n'


def _deadlines(records: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        'Budgets from the p99 of the cheapest path to that of the dearest, from the picture (VGA) to the '
        'answer; adaptive mode. Expected accuracy where it was measured: of the answers in time, 0 for none.',
        '',
        '| model | precision | budgets, ms | met | paths taken | expected accuracy |',
        '|---|---|---|---|---|---|',
    ]
    for each in records:
        low, high = each['budget_ms']
        paths = ', '.join(f'{text}: {count}' for text, count in each['paths'].items())
        expected = each['expected_accuracy']
        accuracy = '-' if expected is None else f'{expected:.3f} of {each["best_accuracy"]:.3f}'
        met = f'{each["met"]} of {each["frames"]} ({100 * each["met"] / each["frames"]:.1f} %)'
        lines.append(
            f'| {each["model"]} | {each["precision"]} | {low:.2f} to {high:.2f} | {met} '
            f'| {paths} | {accuracy} |'
        )
    return lines


def _last(text: str) -> str:
    lines = [line.strip('= ') for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ''
