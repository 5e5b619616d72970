"""Tensors that a network has for one resolution alone, beside those that all resolutions share.

A smaller image shows the same things smaller, with other statistics. Normalisations of its own for each
resolution, and depthwise kernels, the layers that look at space and hardly anything else, are a few per cent
of a mobile network's weights. Source for normalisations: Wang et al., "Resolution Switchable Networks for
Runtime Efficient Image Recognition", ECCV 2020.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ['KINDS', 'PrivateTensors', 'give', 'private_name', 'private_of', 'private_of_exits', 'tensors_of']


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, (_NormBase, nn.LayerNorm, nn.GroupNorm))


# What a resolution can have for itself: which modules, and which of their tensors.
KINDS: dict[str, tuple[Callable[[nn.Module], bool], tuple[str, ...]]] = {
    'affine': (_is_norm, ('weight', 'bias')),
    'statistics': (_is_norm, ('running_mean', 'running_var')),
    'depthwise': (_is_depthwise, ('weight', 'bias')),
}


class PrivateTensors(nn.Module):
    """The private tensors of one resolution: parameters and buffers under the names that the network has for
    the shared ones, with / for the dot that torch does not allow.
    """

    def __init__(self, shared: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in shared.items():
            own = tensor.detach().clone(memory_format=torch.preserve_format)
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name.replace('.', '/'), nn.Parameter(own))
            else:
                self.register_buffer(name.replace('.', '/'), own)


def private_name(side: int, name: str) -> str:
    """What the tensor `name` is called in a network's state where the resolution of `side` px has its own."""
    return f'private.{side}.{name.replace(".", "/")}'


def tensors_of(network: nn.Module, kinds: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of these kinds in a network, by name. Raises ValueError for an unknown kind."""
    if unknown := set(kinds) - KINDS.keys():
        raise ValueError(f'private tensors {min(unknown)!r}: write some of {", ".join(KINDS)}')
    chosen = [KINDS[kind] for kind in KINDS if kind in kinds]
    return {
        f'{path}.{name}': tensor
        for path, module in network.named_modules()
        for fits, names in chosen
        if fits(module)
        for name in names
        if (tensor := getattr(module, name)) is not None
    }


def private_of(network: nn.Module, config: Mapping[str, Any]) -> nn.ModuleDict:
    """Private tensors as a network's config says, copies of the shared ones, by side."""
    found = config.get('private')
    if found is None:
        return nn.ModuleDict()
    shared = tensors_of(network, found['kinds'])
    return nn.ModuleDict({str(side): PrivateTensors(shared) for side in found['sides']})


def private_of_exits(network: nn.Module, count: int) -> list[nn.Parameter]:
    """The private parameters of the first `count` exits, at all resolutions."""
    exits = re.compile(r'private\.\d+\.exits/(\d+)/')
    return [
        parameter
        for name, parameter in network.named_parameters()
        if (found := exits.match(name)) and int(found[1]) < count
    ]


def give(twin: nn.Module, private: nn.Module) -> list[str]:
    """Let `twin`, a network that shares the layers of another, compute with these tensors in place of the
    shared ones; returns their shared names. Modules that hold them are copied, the others stay.
    """
    own: dict[str, dict[str, Tensor]] = {}  # by module's path
    names = []
    for key, tensor in _tensors(private):
        name = key.replace('/', '.')
        names.append(name)
        path, _, last = name.rpartition('.')
        own.setdefault(path, {})[last] = tensor
    made: dict[int, nn.Module] = {}
    for path, parts in twin.named_children():  # the lists of stages and exits, which are the twin's alone
        for number, part in parts.named_children():
            for name, module in part._modules.items():
                if module is not None:
                    part._modules[name] = _with(module, f'{path}.{number}.{name}', own, made)
    return names


def _tensors(private: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from private.named_parameters(recurse=False)
    yield from private.named_buffers(recurse=False)


def _with(
    module: nn.Module, path: str, own: Mapping[str, Mapping[str, Tensor]], made: dict[int, nn.Module]
) -> nn.Module:
    """The module at `path` itself, or, where it or one in it has private tensors, a copy that uses them."""
    if id(module) in made:  # it is used in several places
        return made[id(module)]
    parts = {
        name: None if part is None else _with(part, f'{path}.{name}', own, made)
        for name, part in module._modules.items()
    }
    tensors = own.get(path, {})
    result = module
    if tensors or any(parts[name] is not part for name, part in module._modules.items()):
        result = copy.copy(module)
        result._modules = parts
        result._parameters, result._buffers = dict(module._parameters), dict(module._buffers)
        for name, tensor in tensors.items():
            if isinstance(tensor, nn.Parameter):
                result._parameters[name] = tensor
            else:
                result._buffers[name] = tensor
    made[id(module)] = result
    return result
