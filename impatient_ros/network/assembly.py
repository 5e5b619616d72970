"""The parts of a staged network, from a classifier or from a description: stages, exits and config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from impatient_ros.network import families
from impatient_ros.network.cut_points import find_cut_points
from impatient_ros.network.exit_placement import place_exits
from impatient_ros.network.heads import HeadSpec, build_heads, plan_heads
from impatient_ros.network.resolutions import sized
from impatient_ros.network.splitting import cut

__all__ = ['assembled', 'image_sides', 'rebuilt']


def assembled(
    module: nn.Module,
    input_shape: tuple[int, ...],
    exits: int | None,
    names: Sequence[str] | None,
    head_options: tuple[float | Sequence[float], str],
    backbone: dict[str, Any],
    classes: int | None = None,
) -> tuple[list[nn.Module], list[nn.Module], dict[str, Any]]:
    """Stages, exits and config of `module`, cut and with fresh heads; see `ImpatientNetwork.from_module`.

    `head_options` are share and kind. Raises ValueError, CutError.
    """
    points = find_cut_points(module, input_shape)
    if classes is not None and classes != points.classes:
        what = type(module).__name__
        raise ValueError(f'{what} gives {points.classes} scores, not {classes}: replace its last layer first')
    chosen = place_exits(points, exits, names)
    specs = plan_heads(chosen[:-1], points.classes, points.macs, input_shape[1:], *head_options, points.final)
    config: dict[str, Any] = {
        'backbone': backbone,
        'input_shape': list(input_shape),
        'classes': points.classes,
        'cuts': [point.name for point in chosen],
        **sized(points, chosen, specs),
    }
    *stages, classifier = cut(module, config['cuts'], input_shape)
    return [*stages], [*build_heads(specs, module), classifier], config


def rebuilt(
    config: Mapping[str, Any], module: nn.Module | None, empty: bool
) -> tuple[list[nn.Module], list[nn.Module], nn.Module]:
    """Stages, exits and the classifier that `config` describes; see `ImpatientNetwork.from_config`."""
    backbone, shape = config['backbone'], config['input_shape']
    if module is None:
        if backbone['source'] == 'module':
            raise ValueError(f'this network was made from a module, {backbone["class"]}: pass it as module=')
        module = families.find(backbone['source']).build(
            backbone['name'],
            classes=config['classes'],
            image_size=(shape[1], shape[2]),
            options=backbone['options'],
            empty=empty,
        )
    *stages, classifier = cut(module, config['cuts'], shape)
    with torch.device('meta' if empty else 'cpu'):
        heads = build_heads(map(HeadSpec.from_dict, config['heads']), module)
    return [*stages], [*heads, classifier], module


def image_sides(image_size: int | Sequence[int]) -> tuple[int, int]:
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
        raise ValueError(f'image_size is {image_size!r}: write pixels, or (height, width)')
    return sides[0], sides[1]
