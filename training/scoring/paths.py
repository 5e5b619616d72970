"""What each path of a network (an exit at a resolution) is worth on a split, and which paths pay.

A path is dominated where another one costs no more and is right as often or more often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network import ImpatientNetwork
from impatient_ros.planning.options import undominated
from training.data.labelled_pictures import Pictures
from training.scoring.exit_scores import Evaluation, evaluate

__all__ = ['ResolutionScores', 'evaluate_resolutions', 'path_rows', 'path_table', 'sides_of']

_TOP = 5  # as ImageNet counts; said only where there are more than twice as many classes


@dataclass(frozen=True)
class ResolutionScores:
    """The scores of all exits at one resolution (px), and their MACs with one head alone."""

    side: int
    macs: tuple[int, ...]
    scores: Evaluation


def sides_of(text: str, own: int | None = None) -> tuple[int, ...]:
    """'96,128,224' as sides in px, ascending, with `own`, that of the network. Raises ValueError."""
    words = [each.strip() for each in text.split(',')]
    if not all(each.isdecimal() and int(each) for each in words):
        raise ValueError(f'resolutions {text!r}: write sides in pixels, as in 96,128,160,192,224')
    sides = sorted({int(each) for each in words})
    if own is not None and sides[-1] > own:
        raise ValueError(
            f'resolutions {text}: the network is one for {own} px, which is its largest; import it at '
            f'{sides[-1]} px'
        )
    return tuple(sides) if own in (None, sides[-1]) else (*sides, own)


def evaluate_resolutions(
    network: ImpatientNetwork, pictures: Pictures, preprocessing: Preprocessing, sides: Sequence[int]
) -> list[ResolutionScores]:
    """Run every picture through all exits at each of `sides`; () is the own size alone, square or not.

    Raises ValueError, before anything runs, where the network does not have one of them.
    """
    ways = [(network.at(side), preprocessing.at(side)) for side in sides] or [(network, preprocessing)]
    return [
        ResolutionScores(
            min(each.input_shape[1:]),
            tuple(int(macs) for macs in each.costs()),
            evaluate(each, pictures, prepared),
        )
        for each, prepared in ways
    ]


def path_rows(
    found: Sequence[ResolutionScores], temperatures: Sequence[Sequence[float]]
) -> list[dict[str, Any]]:
    """Every path, cheapest first, ready for JSON; `temperatures` per resolution and exit.

    `agreement` is the share of pictures where the answer is that of the last exit at the largest resolution,
    `top5` how often the right class is among five (only where there are more than ten classes).
    """
    full = found[-1].scores.logits[-1].argmax(1)
    rows = []
    for each, fitted in zip(found, temperatures, strict=True):
        scores = each.scores
        for t, (accuracy, error) in enumerate(
            zip(scores.accuracies, scores.calibration_errors(fitted), strict=True)
        ):
            logits = scores.logits[t]
            row: dict[str, Any] = {
                'resolution': each.side,
                'exit_index': t,
                'macs': each.macs[t],
                'accuracy': accuracy,
                'agreement': float((logits.argmax(1) == full).double().mean()),
                'temperature': fitted[t],
                'ece': error,
            }
            if logits.shape[1] > 2 * _TOP:
                best = logits.topk(_TOP, dim=1).indices
                row['top5'] = float((best == scores.target[:, None]).any(1).double().mean())
            rows.append(row)
    rows.sort(key=lambda row: (row['macs'], row['resolution'], row['exit_index']))
    front = undominated([row['macs'] for row in rows], [row['accuracy'] for row in rows])
    for number, row in enumerate(rows):
        row['dominated'] = number not in front
    return rows


def path_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """For people; a star marks the paths that no other one dominates, where they were measured."""
    exits = 1 + max(row['exit_index'] for row in rows)
    full = max(row['macs'] for row in rows)
    top = any('top5' in row for row in rows)
    lines = [
        f'{"path":<24}{"MMACs":>9}{"share":>7}{"accuracy":>14}'
        + (f'{"top-5":>9}' if top else '')
        + f'{"agreement":>11}'
    ]
    for row in rows:
        path = f'{row["resolution"]} px' + (f', exit {row["exit_index"] + 1} of {exits}' if exits > 1 else '')
        line = f'{path:<24}{row["macs"] / 1e6:>9.2f}{row["macs"] / full:>7.2f}'
        if row.get('accuracy') is None:
            line += f'{"not measured":>14}'
        else:
            mark = ' ' if row['dominated'] else '*'
            line += f'{100 * row["accuracy"]:>12.2f}%{mark}'
            line += f'{100 * row["top5"]:>8.2f}%' if top else ''
            line += f'{100 * row["agreement"]:>10.2f}%'
        lines.append(line.rstrip())
    if any('dominated' in row for row in rows):
        lines.append('*: no other path costs as little and is right as often')
    return '\n'.join(lines)
