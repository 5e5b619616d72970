"""The table of an experiment: expected accuracy by distribution, mean and standard deviation over seeds.

Differences are paired by seed: only seeds that both sides have are compared. What a run cost includes the
run that it began from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from impatient_ros.budgets import named_distribution
from training.risk.expected_accuracy import chosen_share, expected_accuracy

__all__ = [
    'AFTERWARDS',
    'BEFORE',
    'DISTRIBUTIONS',
    'PLACED',
    'Runs',
    'cell',
    'load_runs',
    'markdown',
    'spread',
    'summary',
]

BEFORE = 'half'  # the plain network that others begin from
AFTERWARDS = 'plain-then-joint-'
PLACED = 'placed-'
DISTRIBUTIONS = ('uniform', 'normal', 'early', 'late', 'bimodal')
Runs = dict[str, dict[int, dict[str, Any]]]  # name -> seed -> evaluation


def load_runs(folder: Path, file: str) -> Runs:
    """The evaluations in <folder>/<name>-<seed>/<file>."""
    runs: Runs = {}
    for path in sorted(folder.glob(f'*/{file}')):
        name, _, seed = path.parent.name.rpartition('-')
        if name and seed.isdigit():
            runs.setdefault(name, {})[int(seed)] = json.loads(path.read_text(encoding='utf-8'))
    return runs


def summary(runs: Runs) -> dict[str, Any]:
    """Expected accuracies, their paired differences, and the other targets; all in percentage points."""
    found: dict[str, Any] = {
        'seeds': {name: sorted(by_seed) for name, by_seed in runs.items()},
        'exits': _exits(runs),
        'effort': _effort(runs),
        'expected': {},
        'difference': {},
    }
    for name in DISTRIBUTIONS:
        rows: dict[str, dict[int, float]] = {
            'joint': _expected(runs.get(f'joint-{name}'), name),
            'joint, exits placed': _expected(runs.get(f'{PLACED}{name}'), name),
            'plain, then joint': _expected(runs.get(f'{AFTERWARDS}{name}'), name),
            'uniform weights': _expected(runs.get('uniform-weights'), name),
            'separate heads': _expected(runs.get('separate'), name),
            'best fixed network': _best_fixed(runs, name),
        }
        found['expected'][name] = {
            row: spread(list(values.values())) for row, values in rows.items() if values
        }
        found['difference'][name] = {
            row: spread(
                [100 * (rows['joint'][s] - values[s]) for s in values.keys() & rows['joint'].keys()], 1
            )
            for row, values in rows.items()
            if row != 'joint' and values.keys() & rows['joint'].keys()
        }
        shares = [run['exit_share'][name] for run in runs.get(f'joint-{name}', {}).values()]
        if shares:
            found['expected'][name]['largest share'] = max(max(share[1:]) for share in shares)
    found['targets'] = _targets(runs)
    return found


def _expected(runs: Mapping[int, Any] | None, name: str) -> dict[int, float]:
    return {seed: run['expected_accuracy'][name] for seed, run in (runs or {}).items()}


def _fixed(runs: Runs) -> dict[str, dict[int, dict[str, Any]]]:
    return {
        name: by_seed for name, by_seed in runs.items() if name == 'last' or name.startswith('truncated-')
    }


def _best_fixed(runs: Runs, name: str) -> dict[int, float]:
    """Per seed the best of the fixed networks that this seed has all of; each answers with its own exit."""
    fixed = _fixed(runs)
    seeds = set.intersection(*(set(by_seed) for by_seed in fixed.values())) if len(fixed) > 1 else set()
    best: dict[int, float] = {}
    for seed in seeds:
        values = []
        for by_seed in fixed.values():
            run = by_seed[seed]
            row = next(row for row in reversed(run['exits']) if row['trained'])
            distribution = named_distribution(name, run['exits'][-1]['cost'])
            share = chosen_share(distribution, [row['cost']], [1.0])
            values.append(expected_accuracy(share, [row['accuracy']]))
        best[seed] = max(values)
    return best


def _exits(runs: Runs) -> dict[str, list[dict[str, Any]]]:
    """Per run and trained exit: accuracy, calibration error, million MACs."""
    table: dict[str, list[dict[str, Any]]] = {}
    for name, by_seed in runs.items():
        rows = [run['exits'] for run in by_seed.values()]
        table[name] = [
            {
                'exit': t + 1,
                'macs': rows[0][t]['macs'],
                'accuracy': spread([row[t]['accuracy'] for row in rows]),
                'ece': max(row[t]['ece'] for row in rows),
            }
            for t in range(len(rows[0]))
            if rows[0][t]['trained']
        ]
    return table


def _effort(runs: Runs) -> dict[str, dict[str, Any]]:
    """Per run epochs, training pictures that went through the network, and minutes by the clock; what placing
    its exits took counts in both.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, by_seed in runs.items():
        begun = runs.get(BEFORE, runs.get('last', {})) if name == 'separate' else {}
        begun = runs.get(BEFORE, {}) if name.startswith(AFTERWARDS) else begun
        seeds = [seed for seed, run in by_seed.items() if 'seconds' in run.get('provenance', {})]
        parts = [[each['provenance'] for each in (by_seed[s], begun.get(s)) if each] for s in seeds]
        if parts:
            found[name] = {
                'epochs': [part['epochs'] for part in reversed(parts[0])],
                'pictures': sum(
                    part['epochs'] * part['training_pictures'] + _placing(part, 'views') for part in parts[0]
                ),
                'minutes': mean(
                    sum(part['seconds'] + _placing(part, 'seconds') for part in run) for run in parts
                )
                / 60,
            }
    return found


def _placing(provenance: Mapping[str, Any], what: str) -> Any:
    """How many views, or seconds, the placement of its exits took."""
    return (provenance.get('placement') or {}).get('about', {}).get(what, 0)


def _targets(runs: Runs) -> dict[str, Any]:
    """What else the experiment has targets for; differences of accuracy are in percentage points."""
    targets: dict[str, Any] = {}
    even, last = runs.get('uniform-weights', {}), runs.get('last', {})
    both = sorted(even.keys() & last.keys())
    if both:
        gaps = [100 * (even[s]['exits'][-1]['accuracy'] - last[s]['exits'][-1]['accuracy']) for s in both]
        targets['last exit of uniform weights less the plain network'] = spread(gaps, 1)
    fixed = _fixed(runs)
    gaps = [
        100 * (even[seed]['exits'][t]['accuracy'] - row['accuracy'])
        for by_seed in fixed.values()
        for seed, run in by_seed.items()
        if seed in even
        for t, row in enumerate(run['exits'])
        if row['trained']
    ]
    if len(fixed) > 1 and gaps:
        targets['exits of uniform weights less truncated networks, mean'] = mean(gaps)
    joint = [run for name, by_seed in runs.items() if name.startswith('joint-') for run in by_seed.values()]
    if joint:
        targets['largest calibration error of joint runs'] = max(
            r['ece'] for run in joint for r in run['exits']
        )
        targets['largest share of falls of joint runs'] = max(run['monotonicity']['falls'] for run in joint)
    return targets


def spread(values: Sequence[float], scale: float = 100) -> dict[str, float | int]:
    """Mean and standard deviation (0 for one), times `scale`, and how many."""
    spread = stdev(values) if len(values) > 1 else 0.0
    return {'mean': scale * mean(values), 'sd': scale * spread, 'seeds': len(values)}


def markdown(found: Mapping[str, Any]) -> str:
    """`summary` as Markdown tables."""
    rows = (
        'joint',
        'joint, exits placed',
        'plain, then joint',
        'uniform weights',
        'separate heads',
        'best fixed network',
    )
    text = [
        'Expected accuracy, %: mean ± standard deviation over seeds (their number).',
        '',
        f'| trained | {" | ".join(DISTRIBUTIONS)} |',
        f'|---|{"---|" * len(DISTRIBUTIONS)}',
    ]
    text += [
        f'| {row} | {" | ".join(cell(found["expected"][name].get(row)) for name in DISTRIBUTIONS)} |'
        for row in rows
    ]
    text += [
        '',
        'Joint training less the others, points, paired by seed.',
        '',
        f'| less | {" | ".join(DISTRIBUTIONS)} |',
        f'|---|{"---|" * len(DISTRIBUTIONS)}',
    ]
    text += [
        f'| {row} | {" | ".join(cell(found["difference"][name].get(row), "+") for name in DISTRIBUTIONS)} |'
        for row in rows[1:]
    ]
    shares = (found['expected'][name].get('largest share') for name in DISTRIBUTIONS)
    shown = ' | '.join('–' if share is None else f'{share:.2f}' for share in shares)
    text += [f'| largest share of an exit | {shown} |', '']
    exits = found['exits']
    if exits:
        count = max(row['exit'] for rows_of in exits.values() for row in rows_of)
        text += ['Accuracy of each exit, %; in brackets the largest calibration error.', '']
        text += [f'| run | {" | ".join(f"exit {t + 1}" for t in range(count))} |', f'|---|{"---|" * count}']
        for name, rows_of in exits.items():
            cells = {row['exit']: f'{cell(row["accuracy"])} [{row["ece"]:.3f}]' for row in rows_of}
            text.append(f'| {name} | {" | ".join(cells.get(t + 1, "–") for t in range(count))} |')
        text.append('')
    if found['effort']:
        text += ['What a run cost, the plain network that it began from included.', '']
        text += ['| run | epochs | pictures processed | minutes |', '|---|---|---|---|']
        for name, effort in found['effort'].items():
            epochs = ' + '.join(map(str, effort['epochs']))
            text.append(f'| {name} | {epochs} | {effort["pictures"]:,} | {effort["minutes"]:.1f} |')
        text.append('')
    for name, value in found['targets'].items():
        shown = cell(value, '+') if isinstance(value, Mapping) else f'{value:.3f}'
        text.append(f'- {name}: {shown}')
    return '\n'.join(text) + '\n'


def cell(value: Mapping[str, Any] | None, sign: str = '') -> str:
    """A `spread` in a table."""
    if value is None:
        return '–'
    spread = f' ± {value["sd"]:.2f}' if value['seeds'] > 1 else ''
    return f'{value["mean"]:{sign}.2f}{spread} ({value["seeds"]})'
