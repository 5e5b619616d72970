"""Charts as SVG text: lines, bars, reliability diagrams. No fonts, scripts or files from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

__all__ = ['COLOURS', 'Line', 'bars', 'lines', 'reliability_diagram', 'ticks']

# The first eight are told apart by people with any colour vision, on white (Okabe & Ito's palette, darkened
# where it is pale); with the rest they suffice for a whole experiment with all its baselines.
COLOURS = (
    *('#0072b2', '#d55e00', '#008a63', '#b8569a', '#8a6d00', '#3f9bd1', '#606060', '#a33b2a'),
    *('#1a1a1a', '#e0a800', '#6a4fc4', '#9bb53c'),
)
INK, FAINT, GRID = '#333', '#666', '#e3e3e3'


class Line:
    """One curve: its name, its points (x, y), and whether it is a staircase or loose points."""

    def __init__(self, name: str, points: Sequence[tuple[float, float]], *, loose: bool = False) -> None:
        self.name = name
        self.points = sorted(points)
        self.loose = loose


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about as many as asked for."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


class _Frame:
    """The area between the axes, and how numbers fall on it."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], width: int, height: int, left: int = 52
    ) -> None:
        self.x, self.y = x, y
        self.width, self.height = width, height
        self.left, self.right, self.top, self.bottom = left, 22, 12, 44

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0] or 1)
        up = (y - self.y[0]) / (self.y[1] - self.y[0] or 1)
        return (
            round(self.left + across * (self.width - self.left - self.right), 1),
            round(self.height - self.bottom - up * (self.height - self.top - self.bottom), 1),
        )

    def horizontals(self, label: str, form: str) -> list[str]:
        parts = []
        for value in ticks(*self.y):
            x, y = self.at(self.x[0], value)
            parts.append(_path([(x, y), (self.width - self.right, y)], GRID))
            parts.append(_text(x - 7, y + 4, form.format(value), 'end', FAINT))
        middle = (self.top + self.height - self.bottom) / 2
        parts.append(
            f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle" fill="{FAINT}">'
            f'{escape(label)}</text>'
        )
        return parts

    def abscissa(self, label: str, form: str = '{:g}', about: int = 5) -> list[str]:
        parts = []
        for value in ticks(*self.x, about):
            x, y = self.at(value, self.y[0])
            parts.append(_path([(x, y), (x, y + 4)], FAINT))
            parts.append(_text(x, y + 17, form.format(value), 'middle', FAINT))
        parts.append(
            _text((self.left + self.width - self.right) / 2, self.height - 8, label, 'middle', FAINT)
        )
        return parts

    def drawn(self, parts: Sequence[str], title: str) -> str:
        left, floor = self.at(self.x[0], self.y[0])
        axis = _path([(left, floor), (self.width - self.right, floor)], INK)
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}" '
            f'role="img" aria-label="{escape(title)}">{"".join(parts)}{axis}</svg>'
        )


def lines(
    curves: Sequence[Line], *, x_label: str, y_label: str, title: str, width: int = 720, height: int = 340
) -> str:
    """Staircases that hold each value until the next point, or loose points; y are shares 0..1."""
    points = [point for curve in curves for point in curve.points]
    highest = max((x for x, _ in points), default=1.0)
    lowest = min((y for _, y in points), default=0.0)
    floor = max(0.0, math.floor(10 * lowest - 0.3) / 10)
    top = min(1.0, math.ceil(20 * max((y for _, y in points), default=1.0) + 0.2) / 20)
    frame = _Frame((0.0, 1.12 * highest), (floor, max(top, floor + 0.05)), width, height)
    parts = [*frame.horizontals(y_label, '{:.0%}'), *frame.abscissa(x_label)]
    for index, curve in enumerate(curves):
        colour = COLOURS[index % len(COLOURS)]
        if not curve.loose and curve.points:
            stairs = [frame.at(*curve.points[0])]
            for (_, before), (x, y) in pairwise(curve.points):
                stairs += [frame.at(x, before), frame.at(x, y)]
            stairs.append(frame.at(frame.x[1], curve.points[-1][1]))
            parts.append(_path(stairs, colour, 2.2 if index == 0 else 1.6))
        for x, y in curve.points:
            across, up = frame.at(x, y)
            radius = 4.5 if curve.loose else 4 if index == 0 else 3.2
            shape = f'r="{radius}" fill="{colour}" stroke="#fff"'
            parts.append(
                f'<circle cx="{across}" cy="{up}" {shape}><title>{escape(curve.name)}: {y:.1%}</title>'
                '</circle>'
            )
    return frame.drawn(parts, title)


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
    highest = max((v for values in series.values() for v in values if v is not None), default=1.0)
    top = min(1.0, math.ceil(10 * highest + 0.3) / 10)
    frame = _Frame((0.0, float(len(groups))), (0.0, top), width, height)
    parts = frame.horizontals(y_label, '{:.0%}')
    each = 0.84 / max(1, len(series))
    wide = frame.at(each, 0)[0] - frame.at(0, 0)[0]
    for g, group in enumerate(groups):
        for s, (name, values) in enumerate(series.items()):
            value = values[g]
            if value is None:
                continue
            x, y = frame.at(g + 0.08 + s * each, value)
            _, floor = frame.at(0, 0)
            parts.append(
                f'<rect x="{x}" y="{y}" width="{max(1.0, wide - 1.5):.1f}" height="{floor - y:.1f}" '
                f'fill="{COLOURS[s % len(COLOURS)]}"><title>{escape(name)}, {escape(group)}: {value:.1%}'
                '</title></rect>'
            )
            if wide >= 25:
                parts.append(_text(x + wide / 2, y - 4, f'{100 * value:.1f}', 'middle', INK, 10))
        middle, floor = frame.at(g + 0.5, 0)
        parts.append(_text(middle, floor + 18, group, 'middle', INK, 13))
    return frame.drawn(parts, title)


def reliability_diagram(
    bins: Mapping[str, Sequence[float]], *, title: str, width: int = 200, height: int = 196
) -> str:
    """Accuracy of each bin of confidence against the diagonal; the darker a bar, the more pictures."""
    frame = _Frame((0.0, 1.0), (0.0, 1.0), width, height)
    parts = [*frame.horizontals('accuracy', '{:.0%}'), *frame.abscissa('confidence', '{:.0%}', 2)]
    count = bins['count']
    most = max([*count, 1.0])
    for index, (number, accuracy) in enumerate(zip(count, bins['accuracy'], strict=True)):
        if not number:
            continue
        x, y = frame.at(index / len(count), accuracy)
        right, floor = frame.at((index + 1) / len(count), 0)
        strength = 0.25 + 0.75 * math.sqrt(number / most)
        parts.append(
            f'<rect x="{x}" y="{y}" width="{right - x - 0.8:.1f}" height="{floor - y:.1f}" '
            f'fill="{COLOURS[0]}" '
            f'fill-opacity="{strength:.2f}"><title>{number:.0f} pictures, {accuracy:.0%} right</title></rect>'
        )
    diagonal = _path([frame.at(0, 0), frame.at(1, 1)], COLOURS[1], 1.4)
    return frame.drawn([*parts, diagonal.replace('<path', '<path stroke-dasharray="5 3"')], title)


def _path(points: Sequence[tuple[float, float]], colour: str, width: float = 1) -> str:
    way = ' L'.join(f'{x:g} {y:g}' for x, y in points)
    return f'<path d="M{way}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str, size: int = 12) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">'
        f'{escape(text)}</text>'
    )
