"""What a checkpoint's description must say, checked before anything is built from it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import isfinite
from typing import Any, TypeGuard

from impatient_ros.checkpoint.container import CheckpointError
from impatient_ros.checkpoint.precisions import MEASURED
from impatient_ros.images.preprocessing import Preprocessing

__all__ = ['check_description']

_KINDS = {'network': dict, 'labels': list, 'preprocessing': dict, 'provenance': dict, 'same': dict}
# Far above what networks have, far below what exhausts a machine.
_MOST_CLASSES = 1 << 16  # class ids are uint16 in vision_msgs
_LONGEST_LABEL = 1000  # characters
_LONGEST_NAME = 500  # characters, of a cut or a tensor
_MOST_EXITS = 256  # the deepest of torchvision's classifiers has 154 cut points
_LARGEST_SIDE, _MOST_PIXELS = 1 << 13, 1 << 22  # of the network's input
_LARGEST_NUMBER = 1 << 16  # in the options and heads that a network is built from
_LONGEST_OPTIONS = 10_000  # characters
_LARGEST_PROVENANCE = 1 << 20  # characters
_MOST_RESOLUTIONS = 32  # more than planning can tell apart: each has T paths
_MOST_PICTURES = 1 << 31
_DEEPEST = 50  # lists and mappings inside each other


def check_description(description: Mapping[str, Any]) -> None:
    """Raise CheckpointError for parts that are missing, of the wrong kind, out of range or inconsistent."""
    for key, kind in _KINDS.items():
        if not isinstance(description.get(key), kind):
            raise CheckpointError(f'{key} is {_shown(description.get(key))} in its description')
    _check_finite(description, 'its description')
    network, labels = description['network'], description['labels']
    _check_network(network)
    _check_labels(labels, network['classes'])
    exits = len(network['cuts'])
    if description.get('accuracies') is not None:
        _check_per_exit('accuracies', description['accuracies'], exits, 0.0, 1.0)
    _check_per_exit('temperatures', description.get('temperatures'), exits, 1e-6, 1e6)
    _check_names('same', [*description['same'], *description['same'].values()])
    _check_names('network_only', description.get('network_only', []))
    if len(repr(description['provenance'])) > _LARGEST_PROVENANCE:
        raise CheckpointError(f'provenance takes more than {_LARGEST_PROVENANCE} characters')
    try:
        size = Preprocessing.from_dict(description['preprocessing']).size
    except (ValueError, TypeError) as error:
        raise CheckpointError(str(error)) from error
    if list(size) != network['input_shape'][1:]:
        raise CheckpointError(
            f'preprocessing makes images of {size}, the network takes {network["input_shape"][1:]}'
        )
    _check_resolutions(description)
    _check_precisions(description.get('precisions', {}), 1 + len(description.get('resolutions', [])), exits)


def _check_resolutions(description: Mapping[str, Any]) -> None:
    """Those below the network's own, where there are any: sides, and what is known of each exit there."""
    found = description.get('resolutions', [])
    if not _is_list(found, dict) or len(found) >= _MOST_RESOLUTIONS:
        raise CheckpointError(
            f'resolutions is {_shown(found)}: a list of mappings, with the own at most {_MOST_RESOLUTIONS}'
        )
    if not found:
        return
    height, width = description['network']['input_shape'][1:]
    if height != width:
        raise CheckpointError(f'resolutions: images are of {height}x{width}, only squares have several')
    sides = [each.get('side') for each in found]
    if not _is_list(sides, int) or not all(a < b for a, b in pairwise([0, *sides, height])):
        raise CheckpointError(f'resolutions: {_shown([*sides, height])} px are not whole numbers that ascend')
    exits = len(description['network']['cuts'])
    for side, each in zip(sides, found, strict=True):
        if (each.get('accuracies') is None) != (description.get('accuracies') is None):
            raise CheckpointError(f'resolutions: accuracies at {side} px: all are measured or none')
        try:
            if each.get('accuracies') is not None:
                _check_per_exit('accuracies', each['accuracies'], exits, 0.0, 1.0)
            _check_per_exit('temperatures', each.get('temperatures'), exits, 1e-6, 1e6)
            _check_macs('macs', each.get('macs'), exits)
        except CheckpointError as error:
            raise CheckpointError(f'at {side} px: {error}') from error


def _check_precisions(found: Any, resolutions: int, exits: int) -> None:
    """What is known of the paths in other precisions than single."""
    if not isinstance(found, dict) or found.keys() - set(MEASURED):
        raise CheckpointError(f'precisions is {_shown(found)}: a mapping of {", ".join(MEASURED)}')
    for precision, record in found.items():
        try:
            if not isinstance(record, dict):
                raise CheckpointError(f'{_shown(record)} is no mapping')
            _check_precision(record, resolutions, exits)
        except CheckpointError as error:
            raise CheckpointError(f'precisions: {precision}: {error}') from error


def _check_precision(record: Mapping[str, Any], resolutions: int, exits: int) -> None:
    pictures, measured = record.get('pictures'), record.get('measured')
    if type(pictures) is not int or not 1 <= pictures <= _MOST_PICTURES:
        raise CheckpointError(f'pictures is {_shown(pictures)}: a number of them')
    if not isinstance(measured, str) or len(measured) > _LONGEST_LABEL:
        raise CheckpointError(
            f'measured is {_shown(measured)}: a text of at most {_LONGEST_LABEL} characters'
        )
    for key, low, high in (('accuracies', 0.0, 1.0), ('temperatures', 1e-6, 1e6)):
        for row in _rows(key, record.get(key), resolutions):
            _check_per_exit(key, row, exits, low, high)
    for row in _rows('drops', record.get('drops'), resolutions):
        if not _is_list(row, list) or len(row) != exits:
            raise CheckpointError(f'drops is {_shown(row)} for {exits} exits')
        for drop in row:
            _check_per_exit('drops', drop, 3, -1.0, 1.0)
            mean, low, high = drop
            if not low <= mean <= high:
                raise CheckpointError(
                    f'drops: {mean} is not between the ends of its interval, {low} and {high}'
                )


def _rows(key: str, values: Any, resolutions: int) -> list[Any]:
    if not _is_list(values, list) or len(values) != resolutions:
        raise CheckpointError(f'{key} is {_shown(values)} for {resolutions} resolutions')
    return values


def _check_labels(labels: list[Any], classes: int) -> None:
    for label in labels:
        if not isinstance(label, str) or not label:
            raise CheckpointError('labels: each must be text that is not empty')
        if (
            len(label) > _LONGEST_LABEL
            or '\0' in label
            or any('\ud800' <= each <= '\udfff' for each in label)
        ):
            raise CheckpointError(
                f'labels: {_shown(label)} is longer than {_LONGEST_LABEL} characters, or is no Unicode text'
            )
    if len(labels) != classes:
        raise CheckpointError(f'{len(labels)} labels for {classes} classes')


def _check_network(network: Mapping[str, Any]) -> None:
    shape, cuts, heads = (network.get(key) for key in ('input_shape', 'cuts', 'heads'))
    classes = network.get('classes')
    if type(classes) is not int or not 1 <= classes <= _MOST_CLASSES:
        raise CheckpointError(f'network: classes is {_shown(classes)}, at most {_MOST_CLASSES}')
    if (
        not _is_list(shape, int)
        or len(shape) != 3
        or not all(1 <= side <= _LARGEST_SIDE for side in shape)
        or shape[1] * shape[2] > _MOST_PIXELS
    ):
        raise CheckpointError(
            f'network: input_shape is {_shown(shape)}: [channels, height, width], at most {_MOST_PIXELS} px'
        )
    if not _is_list(cuts, str) or not 1 <= len(cuts) <= _MOST_EXITS:
        raise CheckpointError(f'network: cuts is {_shown(cuts)}')
    _check_names('network: cuts', cuts)
    if not _is_list(heads, dict) or len(heads) != len(cuts) - 1:
        raise CheckpointError(f'network: heads is {_shown(heads)} for {len(cuts)} exits')
    for key in ('stage_macs', 'exit_macs'):
        _check_macs(f'network: {key}', network.get(key), len(cuts))
    for head in heads:
        _check_options('network: heads', head)
    _check_backbone(network.get('backbone'))
    _check_private(network.get('private'))


def _check_backbone(backbone: Any) -> None:
    """A family's name, which classifier of it, and its options; a module of one's own has no options."""
    if (
        not isinstance(backbone, dict)
        or not isinstance(backbone.get('source'), str)
        or (backbone['source'] != 'module' and not isinstance(backbone.get('name'), str))
        or not isinstance(backbone.get('options', {}), dict)
    ):
        raise CheckpointError(f'network: backbone is {_shown(backbone)}')
    _check_options('network: backbone', backbone)


def _check_private(private: Any) -> None:
    """Which resolutions have which tensors for themselves."""
    if private is None:
        return
    if (
        not isinstance(private, dict)
        or not _is_list(private.get('sides'), int)
        or len(private['sides']) >= _MOST_RESOLUTIONS
        or not _is_list(private.get('kinds'), str)
    ):
        raise CheckpointError(f'network: private is {_shown(private)}: sides and kinds of tensors')


def _check_options(where: str, options: dict[str, Any]) -> None:
    """What a network is built from: a few small values."""
    if len(repr(options)) > _LONGEST_OPTIONS:
        raise CheckpointError(f'{where} takes more than {_LONGEST_OPTIONS} characters: {_shown(options)}')
    waiting: list[Any] = [options]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, (int, float)) and abs(value) > _LARGEST_NUMBER:
            raise CheckpointError(f'{where} has {_shown(value)}, at most {_LARGEST_NUMBER} is read')


def _check_names(where: str, names: Any) -> None:
    if not _is_list(names, str) or any(len(name) > _LONGEST_NAME for name in names):
        raise CheckpointError(f'{where} is {_shown(names)}: names of at most {_LONGEST_NAME} characters')


def _check_macs(key: str, macs: Any, exits: int) -> None:
    if not _is_list(macs, int) or len(macs) != exits or not all(0 <= each < 1 << 62 for each in macs):
        raise CheckpointError(f'{key} is {_shown(macs)} for {exits} exits')


def _check_per_exit(key: str, values: Any, exits: int, low: float, high: float) -> None:
    if not _is_list(values, float):
        raise CheckpointError(f'{key} is {_shown(values)}: a list of numbers is needed')
    if len(values) != exits:
        raise CheckpointError(f'{len(values)} {key} for {exits} exits')
    for value in values:
        if not low <= value <= high:
            raise CheckpointError(f'{key}: {value} is not between {low:g} and {high:g}')


def _check_finite(value: Any, where: str, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise CheckpointError(f'{where} is nested too deeply')
    if isinstance(value, float) and not isfinite(value):
        raise CheckpointError(f'{where}: {value} is not a finite number')
    if isinstance(value, dict):
        for key, each in value.items():
            _check_finite(each, str(key), depth + 1)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _check_finite(each, where, depth + 1)


def _is_list(value: Any, kind: type) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and all(type(each) is kind for each in value)


def _shown(value: Any) -> str:
    text = repr(value[:60] if isinstance(value, (list, str)) else value)
    return 'missing' if value is None else text if len(text) <= 60 else f'{text[:57]}...'
