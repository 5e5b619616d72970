"""The tables of results/README.md and the one of the README, written from the files of results: whoever
measures again edits no figures.

In a text, `<!-- NAME -->` and `<!-- /NAME -->` stand around what is replaced.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

from deadline.files import read_frames
from deadline.realtime import realtime_table
from deadline.table import table

__all__ = ['fill']

WAYS = {
    'alone': 'timer alone',
    'beside_inference': 'beside inference',
    'with_switch_interval': 'and a switch interval of 0.5 ms',
    'with_priority': 'and SCHED_FIFO (`realtime_priority`)',
}


def fill(folder: Path, path: Path | None = None) -> list[str]:
    """Rewrite the tables in `path`, by default `folder`/README.md, from the files in `folder`; returns the
    names of those that were found in it.
    """
    path = path or folder / 'README.md'
    text = path.read_text(encoding='utf-8')
    written = []
    for name, make in _MAKERS.items():
        try:
            made = make(folder)
        except FileNotFoundError:
            continue
        pattern = re.compile(f'(<!-- {name} -->\n).*?(<!-- /{name} -->)', re.DOTALL)
        text, found = pattern.subn(lambda match, made=made: f'{match[1]}{made}\n{match[2]}', text)
        if found:
            written.append(name)
    path.write_text(text, encoding='utf-8')
    return written


def _read(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding='utf-8'))


def _rows(head: str, rows: list[tuple]) -> str:
    lines = [head, '|' + '---|' * (head.count('|') - 1)]
    return '\n'.join(lines + ['| ' + ' | '.join(str(cell) for cell in row) + ' |' for row in rows])


def _machine(folder: Path) -> str:
    lines = []
    for path in sorted((folder / 'live').glob('*.frames.json.gz')):
        for model, m in read_frames(path)[2]['models'].items():
            if 'threads' not in m:
                raise FileNotFoundError(path)  # measured before it was noted
            threads = f', {m["threads"]} thread{"s" * (m["threads"] != 1)}'
            lines.append(
                f'- live, {model}: {m["processor"]}, {m["cores"]} cores, {m["system"]}, '
                f'Python {m["python"]}, {m["runtime"]}{threads}, {m["date"]}, commit {m["commit"]}'
            )
    if not lines:
        raise FileNotFoundError(folder / 'live')
    return '\n'.join(lines)


def _cameras(folder: Path) -> str:
    found = [r for name in ('simulated', 'live') for r in _read(folder / f'cameras-{name}.json')]
    rows = [
        (
            f'{r["model"]}, {"simulated" if r["simulated"] else "live"}, {r["rate_hz"]} Hz each',
            r['rule'],
            *(r[name] for name in ('frames', 'answered', 'missed', 'infeasible', 'superseded')),
            ' '.join(str(count) for count in r['paths']),
            f'{r["answered_worst_camera"] * 100:.1f}%',
        )
        for r in found
    ]
    head = (
        '| run | rule | frames | answered in time | missed | infeasible | superseded | answers by path '
        '| worst camera |'
    )
    return _rows(head, rows)


def _timer(folder: Path) -> str:
    rows = []
    for r in _read(folder / 'timer.json'):
        for name, text in WAYS.items():
            if r[f'{name}_periods']:
                figures = (f'{r[f"{name}_{which}_ms"]:.3f}' for which in ('p50', 'p99', 'max'))
                rows.append((r['model'], text, r[f'{name}_periods'], *figures, r[f'{name}_over_5_ms']))
    return _rows('| model | | periods | p50 ms | p99 ms | worst ms | later than 5 ms |', rows)


def _step(folder: Path) -> str:
    """The default mode against others, for a reader in a hurry."""
    cells = {
        r['policy']: r
        for r in _read(folder / 'simulated' / 'summary.json')
        if (r['model'], r['load']) == ('resnet18', 'step')
    }
    names = {
        'adaptive': 'adaptive (default)',
        'running_mean': 'running mean',
        'static_p99': 'static p99',
        'fixed_first': 'always exit 1',
        'fixed_last': 'always the last',
    }
    head = '| | ' + ' | '.join(names.values()) + ' |'
    misses = (f'{cells[name]["miss_rate"] * 100:.1f} %' for name in names)
    accuracy = (f'{cells[name]["expected_accuracy"]:.3f}' for name in names)
    return _rows(head, [('misses', *misses), ('expected accuracy', *accuracy)])


def _batching(folder: Path) -> str:
    from batching import table as of_batches

    return of_batches(_read(folder / 'batching.json'))


_MAKERS: dict[str, Callable[[Path], str]] = {
    'machine': _machine,
    'simulated': lambda folder: table(_read(folder / 'simulated' / 'summary.json')),
    'live': lambda folder: table(_read(folder / 'live' / 'summary.json')),
    'cameras': _cameras,
    'timer': _timer,
    'realtime': lambda folder: realtime_table(_read(folder / 'realtime.json')),
    'ros': lambda folder: table(_read(folder / 'ros.json')),
    'batching': _batching,
    'step': _step,
}
