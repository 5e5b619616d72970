"""Charts by matplotlib, as SVG text for a page: lines, bars, reliability diagrams.

No fonts, scripts or files from elsewhere; letters are text in the page's own font.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

__all__ = ['COLOURS', 'Line', 'bars', 'lines', 'reliability_diagram']

# The first eight are told apart by people with any colour vision, on white (Okabe & Ito's palette, darkened
# where it is pale); with the rest they suffice for a whole experiment with all its baselines.
COLOURS = (
    *('#0072b2', '#d55e00', '#008a63', '#b8569a', '#8a6d00', '#3f9bd1', '#606060', '#a33b2a'),
    *('#1a1a1a', '#e0a800', '#6a4fc4', '#9bb53c'),
)
STYLE = {
    'svg.fonttype': 'none',
    'svg.hashsalt': 'impatient',  # the same page from the same numbers
    'font.family': 'sans-serif',
    'font.size': 9,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.spines.left': False,
    'axes.grid.axis': 'y',
    'axes.grid': True,
    'axes.axisbelow': True,
    'axes.labelcolor': '#666',
    'grid.color': '#e3e3e3',
    'xtick.color': '#666',
    'ytick.color': '#666',
    'ytick.left': False,
}
NOTHING_MORE = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))  # no time of making, no links


@dataclass(frozen=True)
class Line:
    """One curve: its name, its points (x, y), and whether it is a staircase or loose points."""

    name: str
    points: Sequence[tuple[float, float]]
    loose: bool = False


def _chart(width: int, height: int) -> tuple[Figure, Axes]:
    """An empty one of so many px."""
    figure = Figure((width / 72, height / 72), layout='constrained')
    return figure, figure.add_subplot()


def _svg(figure: Figure, title: str) -> str:
    text = io.StringIO()
    figure.savefig(text, format='svg', metadata=NOTHING_MORE, transparent=True)
    _, _, drawn = text.getvalue().partition('<svg ')
    return f'<svg role="img" aria-label="{escape(title)}" {drawn}'


def lines(
    curves: Sequence[Line], *, x_label: str, y_label: str, title: str, width: int = 720, height: int = 340
) -> str:
    """Staircases that hold each value until the next point, or loose points; y are shares 0..1.

    Curve k's points are the group `curve-k` of the SVG.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _chart(width, height)
        right = 1.12 * max((x for curve in curves for x, _ in curve.points), default=1.0)
        for index, curve in enumerate(curves):
            colour = COLOURS[index % len(COLOURS)]
            points = sorted(curve.points)
            if not points:
                continue
            across, up = zip(*points, strict=True)
            above = 3 - index / len(curves)  # the first one, the model, over all others
            if not curve.loose:
                stairs = ([*across, right], [*up, up[-1]])
                width_pt = 2.2 if index == 0 else 1.6
                axes.step(*stairs, where='post', color=colour, linewidth=width_pt, zorder=above)
            (marks,) = axes.plot(across, up, 'o', color=colour, zorder=above, gid=f'curve-{index + 1}')
            marks.set(markersize=6, markeredgecolor='w')
        axes.set(xlabel=x_label, ylabel=y_label, xlim=(0, right))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        return _svg(figure, title)


def bars(
    groups: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    y_label: str,
    title: str,
    width: int = 720,
    height: int = 340,
) -> str:
    """One group per name in `groups`, one bar per series in each; values are shares, shown in percent."""
    each = 0.84 / max(1, len(series))
    with mpl.rc_context(STYLE):
        figure, axes = _chart(width, height)
        for index, values in enumerate(series.values()):
            shown = {g: value for g, value in enumerate(values) if value is not None}
            left = [g + (index - len(series) / 2) * each for g in shown]
            colour = COLOURS[index % len(COLOURS)]
            drawn = axes.bar(left, [*shown.values()], 0.95 * each, align='edge', color=colour)
            if each * width / max(1, len(groups)) >= 25:  # px: narrower ones have no room for numbers
                axes.bar_label(drawn, [f'{100 * value:.1f}' for value in shown.values()], fontsize=8)
        axes.set_xticks(range(len(groups)), groups)
        axes.set(ylabel=y_label, ylim=(0, None))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        return _svg(figure, title)


def reliability_diagram(
    bins: Mapping[str, Sequence[float]], *, title: str, width: int = 200, height: int = 196
) -> str:
    """Accuracy of each bin of confidence against the diagonal; the darker a bar, the more pictures."""
    count = bins['count']
    most = max([*count, 1.0])
    with mpl.rc_context(STYLE):
        figure, axes = _chart(width, height)
        for index, (number, accuracy) in enumerate(zip(count, bins['accuracy'], strict=True)):
            if number:
                darkness = 0.25 + 0.75 * (number / most) ** 0.5
                (bar,) = axes.bar(index / len(count), accuracy, 0.92 / len(count), align='edge')
                bar.set(color=COLOURS[0], alpha=darkness, gid=f'bin-{index + 1}')
        axes.plot([0, 1], [0, 1], '--', color=COLOURS[1], linewidth=1.4)
        axes.set(xlabel='confidence', ylabel='accuracy', xlim=(0, 1), ylim=(0, 1))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
            axis.set_major_locator(MaxNLocator(2))
        return _svg(figure, title)
