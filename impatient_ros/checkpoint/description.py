"""What a checkpoint's description must say, checked before anything is built from it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, TypeGuard

from impatient_ros.checkpoint.container import CheckpointError
from impatient_ros.images.preprocessing import Preprocessing

__all__ = ['check_description']

_KINDS = {'network': dict, 'labels': list, 'preprocessing': dict, 'provenance': dict, 'same': dict}
_LARGEST = {'classes': 1 << 20, 'side': 1 << 14}


def check_description(description: Mapping[str, Any]) -> None:
    """Raise CheckpointError for parts that are missing, of the wrong kind, out of range or inconsistent."""
    for key, kind in _KINDS.items():
        if not isinstance(description.get(key), kind):
            raise CheckpointError(f'{key} is {_shown(description.get(key))} in its description')
    _check_finite(description, 'its description')
    network, labels = description['network'], description['labels']
    _check_network(network)
    if not all(isinstance(label, str) and label for label in labels):
        raise CheckpointError('labels: each must be text that is not empty')
    if len(labels) != network['classes']:
        raise CheckpointError(f'{len(labels)} labels for {network["classes"]} classes')
    exits = len(network['cuts'])
    if description.get('accuracies') is not None:
        _check_per_exit('accuracies', description['accuracies'], exits, 0.0, 1.0)
    _check_per_exit('temperatures', description.get('temperatures'), exits, 1e-6, 1e6)
    try:
        size = Preprocessing.from_dict(description['preprocessing']).size
    except (ValueError, TypeError) as error:
        raise CheckpointError(str(error)) from error
    if list(size) != network['input_shape'][1:]:
        raise CheckpointError(
            f'preprocessing makes images of {size}, the network takes {network["input_shape"][1:]}'
        )


def _check_network(network: Mapping[str, Any]) -> None:
    shape, backbone, cuts = (network.get(key) for key in ('input_shape', 'backbone', 'cuts'))
    classes = network.get('classes')
    if type(classes) is not int or not 1 <= classes <= _LARGEST['classes']:
        raise CheckpointError(f'network: classes is {_shown(classes)}')
    if not _is_list(shape, int) or not all(1 <= side <= _LARGEST['side'] for side in shape):
        raise CheckpointError(f'network: input_shape is {_shown(shape)}')
    if not _is_list(cuts, str) or not cuts:
        raise CheckpointError(f'network: cuts is {_shown(cuts)}')
    if not _is_list(network.get('heads'), dict) or len(network['heads']) != len(cuts) - 1:
        raise CheckpointError(f'network: heads is {_shown(network.get("heads"))} for {len(cuts)} exits')
    for key in ('stage_macs', 'exit_macs'):
        macs = network.get(key)
        if not _is_list(macs, int) or len(macs) != len(cuts) or min(macs) < 0:
            raise CheckpointError(f'network: {key} is {_shown(macs)} for {len(cuts)} exits')
    if isinstance(backbone, dict) and backbone.get('source') == 'module':
        return
    if (
        not isinstance(backbone, dict)
        or not isinstance(backbone.get('source'), str)
        or not isinstance(backbone.get('name'), str)
        or not isinstance(backbone.get('options'), dict)
        or len(shape) != 3
    ):
        raise CheckpointError(f'network: backbone is {_shown(backbone)}')


def _check_per_exit(key: str, values: Any, exits: int, low: float, high: float) -> None:
    if not _is_list(values, float):
        raise CheckpointError(f'{key} is {_shown(values)}: a list of numbers is needed')
    if len(values) != exits:
        raise CheckpointError(f'{len(values)} {key} for {exits} exits')
    for value in values:
        if not low <= value <= high:
            raise CheckpointError(f'{key}: {value} is not between {low:g} and {high:g}')


def _check_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not isfinite(value):
        raise CheckpointError(f'{where}: {value} is not a finite number')
    if isinstance(value, dict):
        for key, each in value.items():
            _check_finite(each, str(key))
    elif isinstance(value, (list, tuple)):
        for each in value:
            _check_finite(each, where)


def _is_list(value: Any, kind: type) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and all(type(each) is kind for each in value)


def _shown(value: Any) -> str:
    text = repr(value)
    return 'missing' if value is None else text if len(text) <= 60 else f'{text[:57]}...'
