"""What a training is about to do, for people: pictures, network, exits, and how it learns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from training.data.data_module import PictureData
from training.model.training_module import ImpatientModule

__all__ = ['training_summary']

SHOWN = 12  # classes: more of them would push the rest out of the window
UNBALANCED = 3.0  # times as many pictures as the smallest class, from where on weighing is worth a hint


def training_summary(data: PictureData, module: ImpatientModule, *, epochs: int) -> RenderableType:
    """Nothing of `data` has to be decoded; the network of `module` is built."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style='bold', no_wrap=True)
    table.add_column()
    table.add_row('pictures', Group(*_pictures(data, module)))
    table.add_row('network', Group(*_network(module)))
    table.add_row('learning', Text(_learning(data, module, epochs)))
    return table


def _pictures(data: PictureData, module: ImpatientModule) -> Iterator[RenderableType]:
    counts = None if data.splits is None else data.splits.counts
    if data.splits is None or counts is None:
        yield Text(f'{data.source}: {len(data.labels)} classes' + ('' if data.splits else ', no labels'))
        return
    learned, validating = (sum(each[part] for each in counts.values()) for part in (0, 1))
    yield Text(
        f'{data.source}: {len(counts)} classes, {learned:,} to learn from, {validating:,} to validate '
        f'({data.validation_is})'
    )
    table = Table.grid(padding=(0, 2, 0, 0))
    for justify in ('left', 'right', 'right'):
        table.add_column(justify=justify)  # type: ignore[arg-type]
    table.add_row('class', 'learn', 'validate', style='dim')
    for label in list(counts)[:SHOWN]:
        table.add_row(Text(label), *(f'{count:,}' for count in counts[label]))
    if further := list(counts.values())[SHOWN:]:
        least, most = (f'{each(count for count, _ in further):,}' for each in (min, max))
        table.add_row(f'and {len(further)} more', f'{least} to {most}', '', style='dim')
    yield table
    for reason in data.splits.left_out:
        yield Text(reason, style='yellow')
    by_size = sorted(counts, key=lambda label: counts[label][0])
    least_label, most_label = by_size[0], by_size[-1]
    ratio = counts[most_label][0] / counts[least_label][0]
    if ratio >= UNBALANCED and module.class_weights is None:
        yield Text(
            f'{most_label} has {ratio:.1f} times as many as {least_label}: '
            '--model.risk.class_weights balanced lets all classes count alike',
            style='yellow',
        )


def _network(module: ImpatientModule) -> Iterator[RenderableType]:
    network, options = module.network, module.options
    described = network.config['backbone']
    name = described.get('name') or described.get('class')
    begins = options.start or options.weights
    parameters = sum(p.numel() for p in network.parameters())
    sides = ', '.join(map(str, module.sides))
    yield Text(
        f'{name}, {"from " + begins if begins else "not pretrained"}: {parameters:,} '
        f'parameters, {len(network.exits)} {"exits" if len(network.exits) > 1 else "exit"} at {sides} px'
    )
    table = Table.grid(padding=(0, 2, 0, 0))
    for justify in ('left', 'right', 'right', 'right'):
        table.add_column(justify=justify)  # type: ignore[arg-type]
    if module.places_exits:
        yield Text(
            'exits are placed where the budgets are, once the pictures are decoded; evenly they stand at'
        )
    table.add_row('exit', 'million MACs', 'of all', 'weight', style='dim')
    costs = network.costs()
    weights = module.path_weights[-len(costs) :]  # those of the largest resolution
    for number, (cost, weight) in enumerate(zip(costs, weights, strict=True), 1):
        table.add_row(f'{number}', f'{cost / 1e6:,.1f}', f'{cost / costs[-1]:.0%}', f'{weight:.2f}')
    yield table
    if module.exit_share is not None and module.exit_share[0] >= 0.005:
        yield Text(f'{module.exit_share[0]:.0%} of the budgets are too short for any exit')


def _learning(data: PictureData, module: ImpatientModule, epochs: int) -> str:
    risk, optimiser = module.risk_options, module.optimiser_options
    heads = (
        '' if optimiser.head_rate == 1 else f' ({optimiser.learning_rate * optimiser.head_rate:g} for heads)'
    )
    mirror = data.augmentation.mirror
    parts = [
        f'method {risk.method}, budgets {risk.budgets}',
        f'at most {epochs} epochs in batches of {data.batch_size}',
        f'learning rate {optimiser.learning_rate:g}{heads}',
        'no picture is mirrored' if not mirror else f'{mirror:.0%} of the views are mirrored',
    ]
    if module.class_weights is not None:
        parts.append('all classes count alike')
    return '; '.join(parts)
