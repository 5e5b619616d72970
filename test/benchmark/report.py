"""Records, what changed since others, and a plot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Record = dict[str, Any]
NAMES = {
    'truncated': 'plain network truncated there',
    'contract': 'ours, contract',
    'interruptible': 'ours, interruptible',
}
# What tells two records of one run apart.
IDENTITY = (
    'model', 'device', 'runtime', 'what', 'exit', 'resolution', 'image', 'transport', 'mode', 'again',
    'load', 'scheduling', 'which',
)  # fmt: skip


def record(
    model: str,
    device: str,
    runtime: str,
    what: str,
    seconds: Iterable[float] | None = None,
    *,
    exit_index: int | None = None,
    ratio: float | None = None,
    precision: str = '',
    **more: Any,
) -> Record:
    """A flat record; `exit` counts from 1, as people do."""
    durations = None if seconds is None else np.asarray(list(seconds))
    p50, p99 = (None, None) if durations is None else np.percentile(durations, [50, 99]) * 1e3
    return {
        'model': model,
        'device': device,
        'runtime': runtime,
        'precision': precision,
        'what': what,
        'exit': None if exit_index is None else exit_index + 1,
        'ms_p50': None if p50 is None else round(float(p50), 4),
        'ms_p99': None if p99 is None else round(float(p99), 4),
        'ratio': None if ratio is None else round(ratio, 4),
        **more,
    }


def changes(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], least: float = 0.1
) -> list[str]:
    """A line per record whose median changed by more than `least`, and per one that is only in `old`."""
    before = {_identity(each): each for each in old}
    after = {_identity(each): each for each in new}
    lines = []
    for identity, now in after.items():
        then = before.get(identity)
        if then is None or not then['ms_p50'] or not now['ms_p50']:
            continue
        change = now['ms_p50'] / then['ms_p50'] - 1
        if abs(change) > least:
            lines.append(f'{_name(now)}: {then["ms_p50"]:.2f} -> {now["ms_p50"]:.2f} ms ({change:+.0%})')
    lines += [f'{_name(before[each])}: not measured now' for each in before if each not in after]
    return lines


def plot(records: Sequence[Record], path: Path) -> None:
    """Cost of each exit, one panel per model: ours, and the plain network truncated there."""
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(r['model'] for r in records if r['what'] == 'contract'))
    figure = Figure(figsize=(max(6.4, 3.0 * len(models)), 3.6), layout='constrained')
    for panel, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
        mine = [r for r in records if r['model'] == model]
        for index, way in enumerate(dict.fromkeys(way_of(r) for r in mine if r['what'] == 'contract')):
            for what, style in (('truncated', 'x'), ('contract', '-'), ('interruptible', '--')):
                rows = [r for r in mine if (way_of(r), r['what']) == (way, what)]
                panel.plot(
                    [r['exit'] for r in rows],
                    [r['ms_p50'] for r in rows],
                    style,
                    color=f'C{index}',
                    label=f'{way[2]} {way[3]}, {NAMES[what]}',
                )
        panel.set(title=model, xlabel='exit', ylim=(0, None))
        panel.set_xticks(range(1, 1 + max(r['exit'] or 0 for r in mine)))
        panel.spines[['top', 'right']].set_visible(False)
    figure.axes[0].set_ylabel('ms (median)')
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=3, frameon=False
    )
    figure.savefig(path, dpi=110)


def way_of(each: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Model, device, runtime and precision, which was single before there was a choice."""
    return each['model'], each['device'], each['runtime'], each.get('precision') or 'f32'


def _identity(each: Mapping[str, Any]) -> tuple[Any, ...]:
    return (each.get('precision') or 'f32', *(each.get(key) for key in IDENTITY))


def _name(each: Mapping[str, Any]) -> str:
    parts = [str(each[key]) for key in IDENTITY if key != 'exit' and each.get(key) not in (None, '')]
    if each.get('precision') not in (None, '', 'f32'):
        parts.append(each['precision'])
    return ' '.join(parts) + (f' exit {each["exit"]}' if each.get('exit') else '')
