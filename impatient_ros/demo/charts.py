"""The drawings of the page, as SVG: the run over time, and which paths answered at which budgets.

Colours are CSS classes of the page: `right`, `wrong`, `late`, `none` for what became of a frame.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from impatient_ros.demo.frame_log import FrameRow
from impatient_ros.demo.frame_table import milliseconds, signed_ms
from impatient_ros.demo.ladder import Ladder, PathCost

__all__ = ['paths_by_budget', 'state', 'timeline']

WIDTH, LEFT = 1000.0, 90.0  # px of the drawing, and of it left of the first frame
BUDGETS, STEP, SLACK = (
    150.0,
    14.0,
    70.0,
)  # px: height of the budgets' panel, of one path's line, of the slack's
TITLE = 28.0  # px above a panel
BINS = 12


def state(row: FrameRow) -> str:
    """The class of a frame: right, wrong (in time), late, none (no answer)."""
    if row.in_time:
        return 'wrong' if row.right is False else 'right'
    return 'late' if row.answered else 'none'


def timeline(rows: Sequence[FrameRow], ladder: Ladder) -> str:
    """Budget and latency, path, and slack of each frame, with the time of load behind them."""
    step = (WIDTH - LEFT) / max(1, len(rows))
    x = [LEFT + (index + 0.5) * step for index in range(len(rows))]
    thick = max(0.5, min(6.0, 0.6 * step))
    top = TITLE
    paths_top = top + BUDGETS + TITLE
    slack_top = paths_top + STEP * len(ladder.paths) + TITLE
    height = slack_top + SLACK
    parts = [
        f'<rect class="load" x="{x[first] - step / 2:.1f}" y="0" width="{step * (last - first + 1):.1f}" '
        f'height="{height:.0f}"><title>a busy process on each core</title></rect>'
        for first, last in _stretches(row.loaded for row in rows)
    ]
    longest = max((row.budget or 0.0 for row in rows), default=0.0) or 1.0
    parts.append(_text(0, top - 8, 'budget (line) and what was used of it (bar)'))
    for value in (0.0, longest / 2, longest):
        y = top + BUDGETS * (1 - value / longest)
        parts.append(_text(LEFT - 8, y + 4, milliseconds(value), 'end'))
    parts.append(_text(0, paths_top - 8, 'path that answered (filled) or was planned (ring)'))
    lines = {path: paths_top + STEP * (n + 0.5) for n, path in enumerate(reversed(ladder.paths))}
    for path, y in lines.items():
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 8, y + 4, ladder.text(path), 'end'))
    slacks = [
        row.record.slack for row in rows if row.answered and row.record and row.record.slack is not None
    ]
    most = max((abs(slack) for slack in slacks), default=0.0) or 1.0
    middle = slack_top + SLACK / 2
    parts.append(_text(0, slack_top - 8, 'slack: left at the answer (up) or late by (down)'))
    parts.append(_text(LEFT - 8, middle - SLACK / 2 + 4, signed_ms(most), 'end'))
    parts.append(_text(LEFT - 8, middle + 4, '0', 'end'))
    parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{middle}" y2="{middle}"/>')
    for at, row in zip(x, rows, strict=True):
        parts.append(f'<g class="{state(row)}"><title>{escape(_description(row, ladder))}</title>')
        parts += _frame(row, ladder, at, thick, lines, top, BUDGETS / longest, middle, SLACK / 2 / most)
        parts.append('</g>')
    return _svg(height, parts, 'the run over time')


def paths_by_budget(rows: Iterable[FrameRow], ladder: Ladder) -> str:
    """Shares of the paths that answered in time, in classes of equal width of the budget."""
    rows = [row for row in rows if row.budget is not None and row.record is not None]
    low = min((row.budget or 0.0 for row in rows), default=0.0)
    span = (max((row.budget or 0.0 for row in rows), default=0.0) - low) or 1.0
    counts: list[Counter[PathCost | None]] = [Counter() for _ in range(BINS)]
    for row in rows:
        index = min(BINS - 1, int(BINS * ((row.budget or 0.0) - low) / span))
        counts[index][ladder.taken(row.record) if row.in_time and row.record else None] += 1
    width, high = (WIDTH - LEFT) / BINS, 200.0
    parts = [_text(LEFT - 8, TITLE + 4, '100%', 'end'), _text(LEFT - 8, TITLE + high, '0', 'end')]
    for index, count in enumerate(counts):
        y, total = TITLE + high, sum(count.values())
        left = LEFT + index * width
        for number, path in enumerate((*ladder.paths, None)):
            if share := count[path] / total if total else 0.0:
                y -= share * high
                text = f'{ladder.text(path) or "no answer in time"}: {count[path]} of {total}'
                place = f'x="{left + 1:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{share * high:.1f}"'
                title = f'<title>{escape(text)}</title>'
                parts.append(f'<rect {_shade(number, ladder, path)} {place}>{title}</rect>')
        if index % 2 == 0:
            parts.append(_text(left, TITLE + high + 18, milliseconds(low + span * index / BINS)))
    for number, path in enumerate((*ladder.paths, None)):
        at = LEFT + number * (WIDTH - LEFT) / (len(ladder.paths) + 1)
        y = TITLE + high + 34
        parts.append(f'<rect {_shade(number, ladder, path)} x="{at:.1f}" y="{y}" width="11" height="11"/>')
        parts.append(_text(at + 15, y + 10, ladder.text(path) or 'no answer'))
    return _svg(TITLE + high + 50, parts, 'paths by budget')


def _frame(
    row: FrameRow,
    ladder: Ladder,
    x: float,
    thick: float,
    lines: dict[PathCost, float],
    top: float,
    per_second: float,  # px of the budgets' panel
    middle: float,  # y of no slack
    slack_scale: float,  # px per second
) -> list[str]:
    record, budget = row.record, row.budget
    if record is None or budget is None:
        return []
    parts, bottom = [], top + BUDGETS
    slack = record.slack if row.answered else None
    if slack is not None:
        used = min(max(budget - slack, 0.0) * per_second, BUDGETS)
        parts.append(_rect(x, thick, bottom - used, used))
        reach = slack * slack_scale
        parts.append(_rect(x, thick, middle - max(reach, 0.0), abs(reach)))
    y = bottom - budget * per_second
    half = max(thick, 2.0) / 2
    parts.append(f'<line class="budget" x1="{x - half:.1f}" x2="{x + half:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
    taken, planned = ladder.taken(record) if row.answered else None, ladder.planned(record)
    radius = min(STEP / 2 - 2, max(1.5, thick / 2))
    if planned is not None and planned != taken:
        parts.append(f'<circle class="ring" cx="{x:.1f}" cy="{lines[planned]:.1f}" r="{radius:.1f}"/>')
    if taken is not None:
        parts.append(f'<circle cx="{x:.1f}" cy="{lines[taken]:.1f}" r="{radius:.1f}"/>')
    return parts


def _description(row: FrameRow, ladder: Ladder) -> str:
    record = row.record
    words = [f'frame {row.number}', row.name, '' if row.budget is None else milliseconds(row.budget)]
    if record is not None:
        words += [record.outcome.value, ladder.text(ladder.taken(record)), row.label or '']
    return ' · '.join(filter(None, words))


def _stretches(flags: Iterable[bool]) -> list[tuple[int, int]]:
    """(first, last) index of each unbroken run of true flags."""
    found: list[tuple[int, int]] = []
    for index, flag in enumerate(flags):
        if flag and found and found[-1][1] == index - 1:
            found[-1] = (found[-1][0], index)
        elif flag:
            found.append((index, index))
    return found


def _shade(number: int, ladder: Ladder, path: PathCost | None) -> str:
    """Light for the cheapest path to dark for the dearest."""
    if path is None:
        return 'class="none"'
    return f'class="path" fill-opacity="{0.2 + 0.8 * number / max(1, len(ladder.paths) - 1):.2f}"'


def _rect(x: float, width: float, y: float, height: float) -> str:
    return f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = 'start') -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">'
        + '\n'.join(parts)
        + '</svg>'
    )
