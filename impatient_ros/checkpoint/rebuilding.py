"""From what is in a checkpoint to its network, in torch: built anew, given its weights and tried out."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from impatient_ros.checkpoint.container import CheckpointError, Contents
from impatient_ros.checkpoint.export import lent
from impatient_ros.network import ImpatientNetwork

__all__ = ['rebuilt']


def _to_torch(array: NDArray[Any]) -> Tensor:
    """Shares memory, unless half precision is cast to single."""
    half = array.dtype.name in ('float16', 'bfloat16')
    return torch.from_numpy(array.astype(np.float32) if half else array)


def rebuilt(contents: Contents, module: nn.Module | None) -> ImpatientNetwork:
    """The network that `contents` describe, with its weights. Raises CheckpointError."""
    config, same = contents.description['network'], contents.description['same']
    family = config['backbone']['source']
    if family == 'module' and module is None:
        what = config['backbone'].get('class')
        raise CheckpointError(
            f'its network was made from a module, {what}: load it with load(path, module=...)'
        )
    if family == 'torchvision' and module is not None:
        raise CheckpointError('its network is one of torchvision: load it without module')
    stored = {name: _to_torch(array) for name, array in contents.tensors.items()}
    try:
        with _limited(len(stored)):
            network = ImpatientNetwork.from_config(config, module, empty=module is None)
    except Exception as error:
        raise CheckpointError(f'its network cannot be built: {error}') from error
    for alias, name in same.items():
        if name not in stored or alias in stored:
            raise CheckpointError(f'tensor {alias} is said to be the same as {name}, which does not fit')
    tensors = {**stored, **{alias: stored[name] for alias, name in same.items()}}
    _check_fit(network.state_dict(), tensors)
    if module is not None:
        network.load_state_dict(tensors)
    else:
        _fill(network, tensors)
        if any(each.is_meta for each in (*network.parameters(), *network.buffers())):
            # It has a buffer that is computed and not stored: build it for real.
            network = ImpatientNetwork.from_config(config)
            network.load_state_dict(tensors)
    _check_pass(network)
    return network


@contextmanager
def _limited(tensors: int) -> Iterator[None]:
    """Let no more layers be made than a network with so many tensors can have. Raises ValueError inside."""
    left = 4 * tensors + 1000  # activations and containers have no tensors of their own
    thread = threading.get_ident()

    def count(*made: Any) -> None:
        nonlocal left
        left -= threading.get_ident() == thread
        if left < 0:
            raise ValueError(f'its options make more layers than its {tensors} tensors are for')

    with (
        register_module_module_registration_hook(count),
        register_module_parameter_registration_hook(count),
    ):
        yield


def _check_pass(network: ImpatientNetwork) -> None:
    """One pass: that the network takes its images and gives scores for its classes at every exit."""
    network.eval()
    try:
        try:
            with lent(network, {}, 'meta'):
                scores = _scores(network, 'meta')  # without data, whatever sizes the file asks for
        except Exception:  # noqa: BLE001  what depends on data cannot be tried without
            scores = _scores(network, next(network.parameters()).device)
    except Exception as error:
        raise CheckpointError(
            f'its network does not take images of {network.input_shape}: {error}'
        ) from error
    if any(each.shape != (1, network.classes) for each in scores):
        raise CheckpointError(f'its network does not give {network.classes} scores at each exit')


@torch.no_grad()
def _scores(network: ImpatientNetwork, device: str | torch.device) -> list[Tensor]:
    return network(torch.zeros(1, *network.input_shape, device=device))


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
