"""The table of exits only, resolutions only and both: expected accuracy by distribution, and what each took.

The planner chooses by the accuracies in the checkpoint, from validation pictures; counted are those on the
pictures that were evaluated. Budgets are scaled to the whole network's MACs, which all kinds have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from impatient_ros.budgets import named_distribution
from impatient_ros.checkpoint import read
from training.reporting.experiment_table import DISTRIBUTIONS, Runs, cell, load_runs, spread
from training.risk.expected_accuracy import chosen_share, expected_accuracy

__all__ = ['KINDS', 'load_path_runs', 'path_markdown', 'path_summary']

KINDS = ('exits', 'resolutions', 'both')
EFFORT = ('processed_pictures', 'processed_macs', 'epochs', 'seconds')


def load_path_runs(folder: Path, file: str) -> Runs:
    """Name -> seed -> paths (resolution, exit_index, macs, accuracy, validation_accuracy) and effort."""
    found: Runs = {}
    for name, by_seed in load_runs(folder, file).items():
        for seed, run in by_seed.items():
            checkpoint = read(folder / f'{name}-{seed}' / 'model.safetensors')
            validated = {(path.resolution, path.exit_index): path.accuracy for path in checkpoint.paths}
            paths = [
                {key: row[key] for key in ('resolution', 'exit_index', 'macs', 'accuracy')}
                | {'validation_accuracy': validated[row['resolution'], row['exit_index']]}
                for row in run['paths']
            ]
            effort = {key: run['provenance'][key] for key in EFFORT}
            found.setdefault(name, {})[seed] = {'paths': paths, 'pictures': run['pictures'], **effort}
    return found


def path_summary(runs: Runs) -> dict[str, Any]:
    """Expected accuracies and their paired differences in percentage points, effort, and every path."""
    found: dict[str, Any] = {
        'trained for the distribution': {},
        'trained for uniform budgets': {},
        'both less': {},
        'paths chosen': {},
        'effort': {},
        'runs': runs,
    }
    for name in DISTRIBUTIONS:
        rows = {kind: _expected(runs.get(f'{kind}-{name}', {}), name) for kind in KINDS}
        uniform = {kind: _expected(runs.get(f'{kind}-uniform', {}), name) for kind in KINDS}
        for key, each in (('trained for the distribution', rows), ('trained for uniform budgets', uniform)):
            found[key][name] = {
                kind: spread(list(values.values())) for kind, values in each.items() if values
            }
        found['both less'][name] = {
            kind: spread([100 * (rows['both'][s] - rows[kind][s]) for s in sorted(common)], 1)
            for kind in KINDS[:-1]
            if (common := rows['both'].keys() & rows[kind].keys())
        }
        found['paths chosen'][name] = {
            kind: mean(sum(w > 0 for w in _share(run, name)[1:]) for run in by_seed.values())
            for kind in KINDS
            if (by_seed := runs.get(f'{kind}-{name}'))
        }
    for kind in KINDS:
        of_kind = [run for name in DISTRIBUTIONS for run in runs.get(f'{kind}-{name}', {}).values()]
        if of_kind:
            found['effort'][kind] = {key: mean(run[key] for run in of_kind) for key in EFFORT}
    return found


def _share(run: Mapping[str, Any], name: str) -> list[float]:
    """How often the planner chooses "no answer" and each path."""
    costs = [row['macs'] for row in run['paths']]
    last = max(run['paths'], key=lambda row: (row['resolution'], row['exit_index']))
    distribution = named_distribution(name, last['macs'])
    return chosen_share(distribution, costs, [row['validation_accuracy'] for row in run['paths']]).tolist()


def _expected(by_seed: Mapping[int, Mapping[str, Any]], name: str) -> dict[int, float]:
    return {
        seed: expected_accuracy(_share(run, name), [row['accuracy'] for row in run['paths']])
        for seed, run in by_seed.items()
    }


def path_markdown(found: Mapping[str, Any]) -> str:
    """`path_summary` as Markdown tables."""
    head = [f'| | {" | ".join(DISTRIBUTIONS)} |', f'|---|{"---|" * len(DISTRIBUTIONS)}']
    text = ['Expected accuracy, %: mean ± standard deviation over seeds (their number).', '']
    for key in ('trained for the distribution', 'trained for uniform budgets'):
        text += [f'Networks {key}:', '', *head]
        text += [
            f'| {kind} | {" | ".join(cell(found[key][name].get(kind)) for name in DISTRIBUTIONS)} |'
            for kind in KINDS
        ]
        text.append('')
    text += ['Both, less the others, points, paired by seed; and how many paths are ever chosen.', '', *head]
    text += [
        f'| less {kind} | {" | ".join(cell(found["both less"][n].get(kind), "+") for n in DISTRIBUTIONS)} |'
        for kind in KINDS[:-1]
    ]
    for kind in KINDS:
        counts = (found['paths chosen'][name].get(kind) for name in DISTRIBUTIONS)
        shown = ' | '.join('–' if count is None else f'{count:.1f}' for count in counts)
        text.append(f'| paths of {kind} | {shown} |')
    text += ['', '| | pictures processed | MACs, forward | epochs | s |', '|---|---|---|---|---|']
    text += [
        f'| {kind} | {row["processed_pictures"]:,.0f} | {row["processed_macs"] / 1e12:.2f} T '
        f'| {row["epochs"]:.0f} | {row["seconds"]:.0f} |'
        for kind, row in found['effort'].items()
    ]
    return '\n'.join(text) + '\n'
