"""The report's section about where exits were placed: accuracy and cost of all cut points, and the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from training.placement.placement import Placement
from training.placement.search import Candidate
from training.reporting.charts import Line, lines

__all__ = ['SERIES', 'placement_section']

SERIES = ('every cut point, heads of all sizes', 'exits placed evenly', 'exits placed by budgets')


def placement_section(values: Mapping[str, Any], legend: str) -> list[str]:
    """HTML of a placement as a checkpoint's provenance has it; `legend` explains the colours of `SERIES`.

    Raises ValueError where it is none.
    """
    placement = Placement.from_dict(values)
    chosen, even = ([placement.candidates[k] for k in each] for each in (placement.chosen, placement.even))
    gain = 100 * (placement.expected - placement.expected_even)
    budgets = Path(placement.budgets).stem
    about = placement.about
    what = 'agreement with the full path' if about['relative'] else 'accuracy'
    more = f'{abs(gain):.1f} points {"less" if gain < 0 else "more"}'
    return [
        '<h2>Where the exits stand</h2>',
        f'<p>For {escape(budgets)} budgets, exits placed by them promise an expected {what} of '
        f'<b>{100 * placement.expected:.1f}%</b>, {more} than {len(even) + 1} exits placed evenly by cost '
        f'({100 * placement.expected_even:.1f}%). These are estimates, made before the training, that served '
        'to choose: heads of several sizes learned, each by itself, on the features of '
        f'{escape(about["backbone"])} at every cut point, from {about["learned"]:,} pictures, and scored '
        f'on {about["held_out"]:,} others. What the exits are worth after training is above.</p>',
        legend,
        _chart(placement, chosen, even, what),
        _table(placement, chosen, what),
    ]


def _chart(placement: Placement, chosen: Sequence[Candidate], even: Sequence[Candidate], what: str) -> str:
    scale, unit = (1e-6, 'million MACs') if placement.unit == 'MACs' else (1e3, 'ms')
    overhead = placement.about['overhead']
    last = (scale * placement.last_cost, placement.last_accuracy)

    def points(exits: Sequence[Candidate]) -> list[tuple[float, float]]:
        return [(scale * (each.backbone + each.head + overhead), each.accuracy) for each in exits] + [last]

    curves = [
        Line(SERIES[0], points(placement.candidates), loose=True),
        Line(SERIES[1], _best_so_far(points(even))),
        Line(SERIES[2], _best_so_far(points(chosen))),
    ]
    return lines(curves, x_label=f'cost, {unit}', y_label=f'estimated {what}', title='where exits stand')


def _best_so_far(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """What the planner's rule answers with as budgets grow."""
    best: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points):
        if not best or accuracy > best[-1][1]:
            best.append((cost, accuracy))
    return best


def _table(placement: Placement, chosen: Sequence[Candidate], what: str) -> str:
    """A row per cut point, a column per size of head; what was chosen is bold."""
    sizes = sorted({each.share for each in placement.candidates})
    by_point: dict[int, dict[float, Candidate]] = {}
    for each in placement.candidates:
        by_point.setdefault(each.position, {})[each.share] = each
    scale, form = (1 / placement.last_cost, '{:.1%}') if placement.unit == 'MACs' else (1e3, '{:.2f} ms')
    rows = []
    for heads in by_point.values():
        first = next(iter(heads.values()))
        number = next((str(k) for k, one in enumerate(chosen, 1) if one.name == first.name), '')
        cells = ''
        for size in sizes:
            one = heads.get(size)
            kind = ' class=best' if one in chosen else ''
            cells += f'<td{kind}>{"" if one is None else f"{100 * one.accuracy:.1f}%"}</td>'
        cost = form.format(scale * first.backbone)
        rows.append(f'<tr><td>{escape(first.name)}</td><td>{cost}</td>{cells}<td>{number}</td></tr>')
    empty = '<td></td>' * (len(sizes) - 1)
    last = f'{100 * placement.last_accuracy:.1f}%'
    cost = form.format(scale * placement.last_cost)
    rows.append(
        f'<tr><td>the classifier itself</td><td>{cost}</td>{empty}<td class=best>{last}</td>'
        f'<td>{len(chosen) + 1}</td></tr>'
    )
    head = ''.join(f'<th>head {100 * size:.3g}%</th>' for size in sizes)
    return (
        f'<p>Estimated {what}, by cut point and by what its head may cost, in parts of the network; chosen '
        'in bold.</p>'
        f'<div class="wide"><table><tr><th>cut point</th><th>cost up to it</th>{head}<th>exit</th></tr>'
        f'{"".join(rows)}</table></div>'
    )
