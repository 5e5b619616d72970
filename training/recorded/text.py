"""The findings in words and bars, for a terminal of 60 to 200 columns."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.recorded.advice import PAYS, RobotPaths
from training.recorded.load_model import LoadModel

__all__ = ['advice_text', 'histogram', 'judged_text', 'model_text', 'wide']

NARROWEST, WIDEST = 60, 200
MOVED = 0.1  # total variation of the shares: below it the weights of a retraining are nearly the old ones


def wide(columns: int | None = None) -> int:
    """The width of the text: the terminal's (or COLUMNS), within limits."""
    columns = shutil.get_terminal_size((100, 24)).columns if columns is None else columns
    return max(NARROWEST, min(WIDEST, columns))


def histogram(
    budgets: Sequence[float] | np.ndarray, costs: Mapping[str, float], width: int, bins: int = 16
) -> str:
    """Bars from 0 to the largest budget; paths stand beside the bin where they begin to fit."""
    high = max(float(np.max(budgets)), 1e-9)
    counts, edges = np.histogram(budgets, bins=bins, range=(0.0, high))
    lines = []
    bars = max(10, min(60, width - 46))
    for index, count in enumerate(counts):
        low, top = edges[index], edges[index + 1]
        last = index == bins - 1
        fitting = [name for name, c in costs.items() if low <= c < top or (last and c == top)]
        bar = '#' * round(bars * count / counts.max())
        line = f'{1000 * low:7.1f} - {1000 * top:6.1f} ms |{bar:<{bars}}{count / len(budgets):6.1%}'
        note = f' <- {", ".join(fitting)}' if fitting else ''
        if len(line + note) > width:
            note = f' <- {len(fitting)} paths' if len(fitting) > 1 else note[: width - len(line)]
        lines.append(line + note)
    beyond = [name for name, c in costs.items() if c > high]
    if beyond:
        lines.append(textwrap.fill(f'{", ".join(beyond)}: costs more than every budget', width))
    return '\n'.join(lines)


def model_text(model: LoadModel, slowdowns: np.ndarray, width: int) -> str:
    """Overhead and slowdown."""
    low, middle, high = np.quantile(slowdowns, (0.05, 0.5, 0.95))
    need = model.constant + model.proportional * middle
    text = (
        f'The machine ran at {middle:.2f} times its latency profile (nine frames of ten: {low:.2f} to '
        f'{high:.2f}). '
        f'At that a frame needs {1000 * model.overhead * middle:.1f} ms of overhead and {need:.2f} times the '
        f"profile's cost of its path, give or take a factor of {np.exp(2 * model.spread):.1f}; "
        f'{model.lost:.1%} of the frames have no answer whatever their budget.'
    )
    return textwrap.fill(text, width)


def judged_text(results: Sequence[Mapping[str, Any]], robot: RobotPaths, width: int) -> str:
    """Predicted and real shares of every bag."""
    names = ('no answer', *robot.names)
    first = min(max(map(len, names)), width - 42)
    parts = []
    for result in results:
        rows = zip(names, result['predicted'], result['real'], result['budgets_alone'], strict=True)
        title = (
            f'{result["name"]}, {result["frames"]} frames: at most {100 * result["worst"]:.1f} points off '
        )
        title += f'({100 * result["worst_budgets_alone"]:.1f} by the budgets alone)'
        lines = [
            textwrap.fill(title, width),
            f'{"":<{first}}{"predicted":>11}{"real":>8}{"off":>7}{"budgets alone":>15}',
            *(
                f'{name[:first]:<{first}}{p:>11.1%}{r:>8.1%}{100 * (p - r):>+7.1f}{b:>15.1%}'
                for name, p, r, b in rows
            ),
        ]
        parts.append('\n'.join(lines))
    return '\n\n'.join(parts)


def advice_text(found: Mapping[str, Any], robot: RobotPaths, costs: Sequence[float], width: int) -> str:
    """What would pay, the largest gain first."""
    names = robot.names
    points = [
        f'Expected accuracy {found["expected_accuracy"]:.1%}; {found["without_answer"]:.1%} without answer.'
    ]
    fewest, dropped = found['sufficient'], found['dropped']
    kept = ', '.join(names[k] for k in fewest['paths'])
    lost = 100 * max(0.0, found['expected_accuracy'] - fewest['worth'])
    if dropped:
        points.append(
            f'Fewer paths: {len(fewest["paths"])} of {len(costs)} suffice ({kept}); without all the others '
            f'together {lost:.2f} points are lost.'
        )
    else:
        points.append(
            f'Fewer paths: all {len(costs)} pay; without any of them more than 0.1 points are lost.'
        )
    gains: list[tuple[float, str]] = []
    more = [each for each in found['additions'] if each['gain'] >= PAYS]
    if more:
        worth = '; '.join(
            f'{_place(each, names)} at {1000 * each["cost"]:.1f} ms +{100 * each["gain"]:.1f}'
            for each in more[:4]
        )
        gains.append((more[0]['gain'], f'One more path pays: {worth} points (each alone).'))
    else:
        gains.append((0.0, 'One more path would not pay: less than 0.1 points in any gap.'))
    anew = found['placed_anew']
    where = ', '.join(f'{1000 * each["cost"]:.1f}' for each in anew['paths'])
    number = len(anew['paths'])
    if anew['gain'] >= PAYS:
        text = (
            f'Other exits or resolutions pay: {number} paths at {where} ms, +{100 * anew["gain"]:.1f} points.'
        )
        gains.append((anew['gain'], text))
    else:
        gains.append((0.0, f'Other exits or resolutions would not pay: {number} paths stand well.'))
    gains.append(_retraining(found['retraining']))
    points += [text for _, text in sorted(gains, key=lambda gain: -gain[0])]
    points.append(
        'Accuracies of paths that do not exist are interpolated; measure them before you believe them.'
    )
    return '\n'.join(
        textwrap.fill(text, width, initial_indent='- ', subsequent_indent='  ') for text in points
    )


def _place(addition: Mapping[str, Any], names: Sequence[str]) -> str:
    if addition['after'] is None:
        return f'below {names[addition["before"]]}'
    return f'between {names[addition["after"]]} and {names[addition["before"]]}'


def _retraining(found: Mapping[str, Any]) -> tuple[float, str]:
    low, high = found['experience']
    most = found['at_most']
    if most < PAYS:
        return 0.0, 'Retraining would not pay: the paths that answer are as accurate as the best one.'
    if found['moved'] is not None and found['moved'] < MOVED:
        return (
            0.0,
            f'Retraining would not pay: trained for nearly these shares ({found["moved"]:.2f} apart).',
        )
    known = '' if found['moved'] is None else f'; its shares were {found["moved"]:.2f} apart from these'
    return (
        min(high, most),
        'Retraining the same paths for these budgets: in our experiments '
        f'{100 * low:.1f} to {100 * high:.1f} points, never more than {100 * most:.1f}{known}.',
    )
