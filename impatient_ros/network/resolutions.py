"""A staged network at further sizes of its images: its classifier cut anew, around the same layers.

Whatever a stage knows of sizes (a flattened map, padding that depends on what is left of a stride) is a
constant of the size that it was cut for, so that a stage cannot simply be given a smaller image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import nn

from impatient_ros.network.cut_points import CutPoint, CutPoints, find_cut_points
from impatient_ros.network.heads import Head, HeadSpec
from impatient_ros.network.splitting import cut

__all__ = ['resized', 'share', 'sized']


def resized(
    module: nn.Module, exits: Iterable[nn.Module], config: Mapping[str, Any], side: int
) -> tuple[list[nn.Module], list[nn.Module], dict[str, Any]]:
    """Stages, exits and config of the network with this `config`, cut from `module`, for images of `side` px.

    Raises ValueError where it does not take them.
    """
    channels, *sides = config['input_shape']
    if type(side) is not int or side < 1:
        raise ValueError(f'resolution {side!r}: write a whole number of pixels')
    if len(sides) != 2 or sides[0] != sides[1]:
        size = 'x'.join(map(str, sides))
        raise ValueError(f'this network takes images of {size}: only squares have further resolutions')
    shape = (channels, side, side)
    try:
        points = find_cut_points(module, shape)
        chosen = [points.find(name) for name in config['cuts']]
        if points.classes != config['classes']:
            raise ValueError(f'it gives {points.classes} scores there')
        heads = [
            _head(t, head, point, shape[1:])
            for t, (head, point) in enumerate(zip(exits, chosen, strict=True))
            if t < len(chosen) - 1
        ]
        *stages, classifier = cut(module, config['cuts'], shape)
    except ValueError as error:
        raise ValueError(f'this network has no resolution of {side} px: {error}') from error
    specs = [head.spec for head in heads]
    return (
        [*stages],
        [*heads, classifier],
        {**config, 'input_shape': list(shape), **sized(points, chosen, specs)},
    )


def _head(t: int, head: Any, point: CutPoint, image: Sequence[int]) -> Head:
    try:
        return head.at(head.spec.at(point.shape, image))
    except ValueError as error:
        raise ValueError(f'exit {t + 1}: {error}') from error


def sized(points: CutPoints, chosen: Sequence[CutPoint], specs: Sequence[HeadSpec]) -> dict[str, Any]:
    """What of a network's `config` follows from the size of its images."""
    ends = [0, *(each.macs for each in chosen)]
    return {
        'heads': [spec.to_dict() for spec in specs],
        'stage_macs': [after - before for before, after in pairwise(ends)],
        'exit_macs': [*(spec.macs for spec in specs), points.macs - chosen[-1].macs],
    }


def share(network: nn.Module, twin: nn.Module) -> None:
    """Give `twin`, of the same build, what `network` holds outside of the layers that both have anyway."""
    ours = dict(network.named_modules(remove_duplicate=False))
    for path, module in twin.named_modules(remove_duplicate=False):
        own = ours[path]
        module.training = own.training
        for mine, theirs in (
            (module._parameters, own._parameters),
            (module._buffers, own._buffers),
        ):
            mine.update({name: theirs[name] for name in mine if name in theirs})  # type: ignore[arg-type]
