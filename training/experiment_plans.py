"""Which trainings make a table, and that each of them processes as many pictures."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.reporting.experiment_table import AFTERWARDS, BEFORE, PLACED
from training.reporting.path_table import KINDS

__all__ = ['JOINT', 'SEVERAL', 'Run', 'epochs_of', 'path_plan', 'placing_epochs', 'plan']

JOINT = ('uniform', 'normal', 'early', 'late', 'bimodal')
# The runs that every seed has; the others are there for the first seed only. These are compared most closely.
SEVERAL = ('uniform-weights', 'joint-uniform', 'joint-early', 'joint-late', 'last', 'separate')


@dataclass(frozen=True)
class Run:
    """One training: its name, its seed, its options, and the run (`after`) whose backbone it freezes."""

    name: str
    seed: int
    options: tuple[str, ...]
    after: str | None = None

    @property
    def folder(self) -> str:
        return f'{self.name}-{self.seed}'


def plan(
    exits: int,
    seeds: Sequence[int],
    epochs: int,
    several: Iterable[str] = SEVERAL,
    distributions: Sequence[str] = JOINT,
    placing: int | None = None,
) -> list[Run]:
    """All runs of a table, those that others need and those that several seeds share first.

    joint-*: joint training for each named distribution; uniform-weights: jointly, all exits alike; last: the
    plain network; truncated-*: a plain network per exit; half: a plain network, for half of the `epochs`.
    From it begin, for the other half, separate: heads on its frozen backbone, and plain-then-joint-*:
    everything, jointly. placed-*: joint, with exits where the budgets
    are, for which the estimate processes as many pictures as `placing` epochs. So each row has processed as
    many pictures, those before it included.
    """
    if epochs < 2:
        raise ValueError(f"trainer.max_epochs is {epochs}: write 2 or more, half are a plain network's")
    several = set(several)
    method, length, budgets = '--model.risk.method', '--trainer.max_epochs', '--model.risk.budgets'
    even = ('--model.network.cuts', 'even')
    whole, half, rest = ((length, str(count), *even) for count in (epochs, epochs // 2, epochs - epochs // 2))
    kinds: list[tuple[str, tuple[str, ...], bool]] = [
        (BEFORE, (method, 'last', *half), False),
        ('last', (method, 'last', *whole), False),
    ]
    kinds += [(f'joint-{name}', (budgets, name, *whole), False) for name in distributions]
    if placing is not None and placing < epochs:
        placed = (length, str(epochs - placing), '--model.network.cuts', 'budgets')
        kinds += [(f'{PLACED}{name}', (budgets, name, *placed), False) for name in distributions]
    kinds += [('uniform-weights', (method, 'uniform', *whole), False)]
    kinds += [('separate', (method, 'separate', *rest), True)]
    kinds += [(f'{AFTERWARDS}{name}', (budgets, name, *rest), True) for name in distributions]
    kinds += [
        (f'truncated-{t}', (method, 'truncated', '--model.risk.exit', str(t), *whole), False)
        for t in range(1, exits)
    ]
    needed = {BEFORE} if several & {name for name, _, after in kinds if after} else set()
    runs = [
        Run(name, seed, options, f'{BEFORE}-{seed}' if after else None)
        for number, seed in enumerate(seeds)
        for name, options, after in kinds
        if number == 0 or name in several | needed
    ]
    # Long runs first, so that no core is idle at the end: heads on a frozen backbone train fast.
    return sorted(runs, key=lambda run: (run.after is not None, run.name.startswith('truncated')))


def path_plan(
    configuration: Mapping[str, Any], seeds: Sequence[int], several: Iterable[str] = ('uniform', 'early')
) -> list[Run]:
    """Exits only, resolutions only, and both, each for every named distribution; `several` have all seeds.

    All process as many pictures: a batch is processed at up to three of the configuration's resolutions, so
    that at one alone there are as many times more epochs.
    """
    passes = min(3, len(configuration['model']['network'].get('resolutions', [])))
    epochs = passes * epochs_of(configuration)
    options = {
        'exits': ('--model.network.resolutions', '[]', '--trainer.max_epochs', str(epochs)),
        'resolutions': ('--model.network.exits', '1'),
        'both': (),
    }
    several = tuple(several)
    return [
        Run(f'{kind}-{name}', seed, ('--model.risk.budgets', name, *options[kind]))
        for names in (several, [name for name in JOINT if name not in several])
        for number, seed in enumerate(seeds)
        if number == 0 or names is several
        for name in names
        for kind in KINDS
    ]


def epochs_of(configuration: Mapping[str, Any]) -> int:
    """Of the configuration, or what training.train takes without any."""
    from training.train import DEFAULTS  # imports all that trains

    return int((configuration.get('trainer') or {}).get('max_epochs', DEFAULTS['max_epochs']))


def placing_epochs(configuration: Mapping[str, Any], data: str, more: Sequence[str]) -> int | None:
    """For how many epochs the estimate of a placement processes pictures, rounded up; None where exits cannot
    be placed, or nobody knows how many pictures there are before they are read.

    Args:
        data: the source.
        more: options that go to training.train.

    Raises DataError.
    """
    from training.data.splits import Splits
    from training.placement.estimate import views_for

    network, risk = (configuration.get('model', {}).get(part) or {} for part in ('network', 'risk'))
    given = any(option.startswith('--model.network.cuts') for option in more) or 'cuts' in network
    unknown = risk.get('costs', 'macs') not in ('macs', 'measured') or network.get('resolutions')
    if given or unknown or isinstance(network.get('head_share'), list):
        return None
    options = configuration.get('data') or {}
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ('limit', 'hold_out'):
        own.add_argument(f'--data.{name}', dest=name, type=int, default=options.get(name))
    found = own.parse_known_args(more)[0]
    splits = Splits(
        data,
        options.get('train_split'),
        options.get('validation_split'),
        found.hold_out or 0,
        found.limit,
    )
    if splits.counts is None:
        return None
    pictures = sum(learned for learned, _ in splits.counts.values())
    views = views_for(pictures, frozen=bool(network.get('start') or network.get('weights')))
    return math.ceil(views / pictures)
