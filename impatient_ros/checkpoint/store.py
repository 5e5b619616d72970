"""One .safetensors file that carries an impatient network and all that it takes to use it.

    save(network, 'model.safetensors', labels=labels, preprocessing=preprocessing, accuracies=[0.6, 0.7, 0.8])
    checkpoint = load('model.safetensors')

The file's tensors are the network's; its metadata is JSON: how to rebuild the network, labels, preprocessing,
validation accuracy and temperature per exit, where it comes from, and checksums. Reading it downloads nothing
and runs nothing from it. A file that is not whole and consistent is refused with a CheckpointError that says
what is wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from impatient_ros.checkpoint.container import FORMAT_VERSION, CheckpointError, unpack, write
from impatient_ros.checkpoint.description import check_description
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network import ImpatientNetwork

__all__ = ['FORMAT_VERSION', 'Checkpoint', 'CheckpointError', 'load', 'save']


@dataclass(frozen=True)
class Checkpoint:
    """What a file carries. `network` is in eval mode on the CPU.

    The tuples have one value per class (`labels`) or per exit. `accuracies` are validation accuracies from 0
    to 1; where nobody measured them (`accuracies_measured` is False) they are stand-ins, (t + 1) / (T + 1),
    that only say "deeper is better". `digest` is the file's SHA-256.
    """

    network: ImpatientNetwork
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    accuracies: tuple[float, ...]
    temperatures: tuple[float, ...]
    provenance: dict[str, Any]
    digest: str
    accuracies_measured: bool = True


def save(
    network: ImpatientNetwork,
    path: str | Path,
    *,
    labels: Sequence[str],
    preprocessing: Preprocessing,
    accuracies: Sequence[float] | None = None,
    temperatures: Sequence[float] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write the file, whole or not at all; `provenance` is JSON-able. Raises CheckpointError, OSError.

    `temperatures` default to 1. Layers that several stages share are stored once.
    """
    tensors, same = _distinct(network.state_dict())
    exits = len(network.exits)
    description = {
        'network': network.config,
        'labels': list(labels),
        'preprocessing': preprocessing.to_dict(),
        'accuracies': None if accuracies is None else [float(each) for each in accuracies],
        'temperatures': [1.0] * exits if temperatures is None else [float(each) for each in temperatures],
        'provenance': dict(provenance or {}),
        'same': same,
    }
    check_description(description)
    _check_finite(tensors)
    write(Path(path), description, tensors)


def load(path: str | Path, module: nn.Module | None = None) -> Checkpoint:
    """Read the file and rebuild its network.

    `module` is needed where the network was made by `ImpatientNetwork.from_module`: the same module, built by
    its own code; its weights are overwritten. Raises CheckpointError, or OSError where it cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        description, tensors, intact = unpack(data, check_description)
        network = _rebuild(description, tensors, intact, module)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error
    exits = len(network.exits)
    measured = description['accuracies'] is not None
    stand_ins = [(t + 1) / (exits + 1) for t in range(exits)]
    return Checkpoint(
        network=network.eval(),
        labels=tuple(description['labels']),
        preprocessing=Preprocessing.from_dict(description['preprocessing']),
        accuracies=tuple(description['accuracies'] if measured else stand_ins),
        temperatures=tuple(description['temperatures']),
        provenance=description['provenance'],
        digest=hashlib.sha256(data).hexdigest(),
        accuracies_measured=measured,
    )


def _distinct(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Each tensor once, and which other names stand for which of them."""
    tensors: dict[str, Tensor] = {}
    same: dict[str, str] = {}
    first: dict[Any, str] = {}
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and first.setdefault(place, name) != name:
            same[name] = first[place]
        else:
            # Copied, because tensors that overlap only in part cannot be stored.
            tensors[name] = tensor.detach().to('cpu', copy=True, memory_format=torch.contiguous_format)
    return tensors, same


def _rebuild(
    description: Mapping[str, Any], stored: Mapping[str, Tensor], intact: bool, module: nn.Module | None
) -> ImpatientNetwork:
    config, same = description['network'], description['same']
    own = config['backbone']['source'] == 'module'
    if own and module is None:
        what = config['backbone'].get('class')
        raise CheckpointError(
            f'its network was made from a module, {what}: load it with load(path, module=...)'
        )
    if not own and module is not None:
        raise CheckpointError("its network is one of torchvision's: load it without module")
    try:
        network = ImpatientNetwork.from_config(config, module, empty=not own)
    except Exception as error:
        raise CheckpointError(f'its network cannot be built: {error}') from error
    for alias, name in same.items():
        if not isinstance(name, str) or name not in stored or alias in stored:
            raise CheckpointError(f'tensor {alias} is said to be the same as {name}, which does not fit')
    tensors = {**stored, **{alias: stored[name] for alias, name in same.items()}}
    _check_fit(network.state_dict(), tensors)
    if not intact:
        raise CheckpointError('damaged: its tensors do not match their checksum')
    _check_finite(stored)
    if own:
        network.load_state_dict(tensors)
        return network
    _fill(network, tensors)
    if any(each.is_meta for each in (*network.parameters(), *network.buffers())):
        # It has a buffer that is computed and not stored: build it for real.
        network = ImpatientNetwork.from_config(config)
        network.load_state_dict(tensors)
    return network


def _check_fit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    problems = [f'{name} is missing' for name in expected.keys() - found.keys()]
    problems += [f'{name} is not of this network' for name in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        ours, theirs = expected[name], found[name]
        if ours.shape != theirs.shape:
            problems.append(f'{name} is {list(theirs.shape)} instead of {list(ours.shape)}')
        elif ours.is_floating_point() != theirs.is_floating_point():
            problems.append(f'{name} is {theirs.dtype} instead of {ours.dtype}')
    if problems:
        more = f' and {len(problems) - 4} more' if len(problems) > 4 else ''
        raise CheckpointError(f'its tensors do not fit its network: {"; ".join(sorted(problems)[:4])}{more}')


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f'tensor {name} has values that are not finite numbers')


def _fill(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give an empty network its weights without a copy; what layers share they go on sharing."""
    filled: dict[int, tuple[Any, Any]] = {}  # keeps the old tensors, so that their ids stay theirs
    for path, module in network.named_modules():
        prefix = f'{path}.' if path else ''
        for name, old in module._parameters.items():
            if old is not None:
                new = nn.Parameter(tensors[prefix + name], requires_grad=old.requires_grad)
                module._parameters[name] = filled.setdefault(id(old), (old, new))[1]
        for name, buffer in module._buffers.items():
            if buffer is not None and prefix + name in tensors:
                module._buffers[name] = filled.setdefault(id(buffer), (buffer, tensors[prefix + name]))[1]
