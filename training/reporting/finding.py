"""What an evaluation found, in the sentence or two that a report begins with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ['expected_of', 'finding']

NEAR = 0.01  # of accuracy: a path that loses no more is as good as the best one, for most


def finding(model: Mapping[str, Any], others: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """For people, as plain text.

    Args:
        model: the evaluation that the page is about.
        others: those that it is compared with, called `names`.
    """
    group = _group(model)
    expected = expected_of(model, group)
    assert expected is not None
    rivals = [('its best single exit', model['best_single_exit'].get(group))]
    rivals += [(name, expected_of(each, group)) for each, name in zip(others, names, strict=True)]
    known = [_against(expected, value, name) for name, value in rivals if value is not None]
    sentences = [
        f'Under {Path(group).stem} budgets {100 * expected:.1f}% of the frames are expected to get '
        + ("the full path's answer" if model.get('relative') else 'a right answer')
        + (f': {", ".join(known)}.' if known else '.')
    ]
    trained = {t for t, row in enumerate(model['exits']) if row.get('trained', True)}
    paths = [row for row in model.get('paths', []) if row['exit_index'] in trained]
    paths = paths or [row for t, row in enumerate(model['exits']) if t in trained]
    if len(paths) > 1:
        best = max(paths, key=lambda row: row['accuracy'])
        near = min(
            (row for row in paths if row['accuracy'] >= best['accuracy'] - NEAR), key=lambda row: row['macs']
        )
        if near['macs'] < best['macs']:
            share = f'{near["macs"] / max(row["macs"] for row in paths):.0%} of the multiply-accumulates'
            right = f'{100 * near["accuracy"]:.1f}%, the best path {100 * best["accuracy"]:.1f}%'
            sentences.append(f'{share} give {right}.')
    count = model.get('pictures')
    if count:
        error = math.sqrt(max(expected * (1 - expected), 0.0) / count)
        sentences.append(f'{count:,} pictures: one accuracy is known to about ±{200 * error:.1f} points.')
    return ' '.join(sentences)


def expected_of(result: Mapping[str, Any], group: str) -> float | None:
    """The expected accuracy of an evaluation under the budgets `group`, over all resolutions where there are
    several; None where it has none.
    """
    found = result.get('expected_accuracy_of_paths') or result['expected_accuracy']
    value = found.get(group)
    return None if value is None else float(value)


def _group(model: Mapping[str, Any]) -> str:
    """The budgets that it was trained for, if they are among those evaluated, else uniform or any."""
    groups = list(model['expected_accuracy'])
    about = str((model.get('provenance') or {}).get('budgets', ''))
    trained = (each for each in groups if about.startswith((f'{each} ', f'{each},')))
    return next(iter((*trained, *(each for each in groups if each == 'uniform'), *groups)))


def _against(expected: float, value: float, name: str) -> str:
    points = 100 * (expected - value)
    if abs(points) < 0.05:
        return f'as many as with {name}'
    return f'{abs(points):.1f} points {"more" if points > 0 else "less"} than with {name}'
