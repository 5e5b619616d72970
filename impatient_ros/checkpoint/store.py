"""Networks to checkpoints and back, in torch.

    save(network, 'model.safetensors', labels=labels, preprocessing=preprocessing, accuracies=[0.6, 0.7, 0.8])
    checkpoint = load('model.safetensors')

The file's tensors are the network's weights and its graphs; its metadata is JSON: how to rebuild the network,
labels, preprocessing, validation accuracy and temperature per path, where it comes from, and checksums.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from impatient_ros.checkpoint.container import CheckpointError, write
from impatient_ros.checkpoint.description import check_description
from impatient_ros.checkpoint.export import ExportError, export
from impatient_ros.checkpoint.reading import (
    Checkpoint,
    check_finite,
    contents_of,
    file_of,
    unused_by,
    with_network,
)
from impatient_ros.checkpoint.rebuilding import rebuilt
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network import ImpatientNetwork

__all__ = ['load', 'rounded_to_half', 'save']

logger = logging.getLogger(__name__)


def save(
    network: ImpatientNetwork,
    path: str | Path,
    *,
    labels: Sequence[str],
    preprocessing: Preprocessing,
    resolutions: Sequence[int] = (),
    accuracies: Sequence[float] | Sequence[Sequence[float]] | None = None,
    temperatures: Sequence[float] | Sequence[Sequence[float]] | None = None,
    provenance: Mapping[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write the file, whole or not at all; `provenance` is JSON-able. Raises CheckpointError, OSError.

    `resolutions` are sides in px, ascending, the last that of the network; () is that one alone. `accuracies`
    and `temperatures` (default 1) are per exit, or such a sequence for each resolution.
    Layers that several stages share are stored once. `half` stores weights as `rounded_to_half` leaves them
    in float16.
    """
    networks = _at_each(network, resolutions)
    tensors, same = _distinct(network.state_dict())
    if half:
        tensors = {name: _halved(each) for name, each in tensors.items()}
    rows = list(
        zip(
            networks,
            _rows('accuracies', accuracies, None, resolutions),
            _rows('temperatures', temperatures, [1.0] * len(network.exits), resolutions),
            strict=True,
        )
    )
    *smaller, (_, own_accuracies, own_temperatures) = rows
    description: dict[str, Any] = {
        'network': network.config,
        'labels': list(labels),
        'preprocessing': preprocessing.to_dict(),
        'accuracies': own_accuracies,
        'temperatures': own_temperatures,
        'provenance': dict(provenance or {}),
        'same': same,
    }
    if smaller:
        description['resolutions'] = [
            {
                'side': each.input_shape[1],
                'accuracies': measured,
                'temperatures': fitted,
                'macs': [int(macs) for macs in each.costs()],
            }
            for each, measured, fitted in smaller
        ]
    check_description(description)
    stored = {name: _to_numpy(tensor) for name, tensor in tensors.items()}
    check_finite(stored)
    graphs: dict[str, bytes] = {}
    try:
        graphs['graph'] = export(network, tensors, same)
        from impatient_ros.checkpoint.resolution_graphs import parse_graphs, to_store  # onnx, as just used

        parse_graphs(graphs, (), stored, network.config)
    except (ExportError, CheckpointError) as error:
        graphs, description['no_graph'] = {}, str(error)
        logger.warning('%s is saved without a graph and will run in torch only: %s', path, error)
    else:
        sides = [each.input_shape[1] for each, _, _ in smaller]
        try:
            exported = {
                side: export(each, tensors, _same_at(each, same))
                for side, (each, _, _) in zip(sides, smaller, strict=True)
            }
        except ExportError as error:
            raise CheckpointError(f'resolutions: {error}: leave it out') from error
        graphs |= to_store(exported, graphs['graph'])
        parsed = parse_graphs(graphs, sides, stored, network.config)
        description['network_only'] = sorted(unused_by(parsed, stored))
    write(Path(path), description, stored, graphs)


@torch.no_grad()
def rounded_to_half(network: nn.Module) -> None:
    """Round the weights of `network` to what `save(half=True)` stores of them; it stays in single precision.

    What has one axis (biases, scales and the statistics of normalisations) is not rounded: it takes little
    room, and small variances would become zero.
    """
    for parameter in network.parameters():
        parameter.copy_(_halved(parameter))


def load(path: str | Path, module: nn.Module | None = None) -> Checkpoint:
    """Read the file and rebuild its network.

    `module` is needed where the network was made by `ImpatientNetwork.from_module`: the same module, built by
    its own code; its weights are overwritten. Raises CheckpointError, or OSError where it cannot be read.
    """
    contents = contents_of(path)
    try:
        file = file_of(contents, str(path))
        return with_network(file, rebuilt(contents, module).eval())
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error


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


def _same_at(network: ImpatientNetwork, same: Mapping[str, str]) -> dict[str, str]:
    """As `same`, where the resolution has tensors for itself: these, under all names of what they replace."""
    own = network.private_names
    return {alias: own.get(name, name) for alias, name in same.items()} | own


def _at_each(network: ImpatientNetwork, resolutions: Sequence[int]) -> list[ImpatientNetwork]:
    """The network at each resolution; those have to ascend to its own."""
    own = network.input_shape[1:]
    if not resolutions:
        return [network]
    sides = list(resolutions)
    if own != (sides[-1], sides[-1]) or any(a >= b for a, b in pairwise(sides)):
        size = 'x'.join(map(str, own))
        raise CheckpointError(f'resolutions {sides} px: they ascend, and the last is the own one, {size}')
    try:
        return [network.at(side) for side in sides]
    except ValueError as error:
        raise CheckpointError(f'resolutions: {error}') from error


def _rows(
    key: str, values: Sequence[Any] | None, default: list[float] | None, resolutions: Sequence[int]
) -> list[list[float] | None]:
    """Per resolution what there is per exit."""
    count = max(1, len(resolutions))
    if values is None:
        return [default] * count
    nested = any(isinstance(row, Sequence) for row in values)
    rows = list(values) if nested or resolutions else [values]
    if len(rows) != count or not all(isinstance(row, Sequence) for row in rows):
        raise CheckpointError(f'{key}: with resolutions write one sequence for each of the {count}')
    return [[float(each) for each in row] for row in rows]


def _halved(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor


def _to_numpy(tensor: Tensor) -> NDArray[Any]:
    if tensor.dtype == torch.bfloat16:  # which NumPy does not know by itself
        import ml_dtypes

        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()
