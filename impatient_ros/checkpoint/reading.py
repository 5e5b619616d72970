"""Reading a checkpoint without torch: everything in it but the network as modules.

    file = read('model.safetensors')
    file.graph.part(0, ['logits_0'])        # what to compute, as ONNX, for a runtime

Reading downloads nothing and runs nothing from the file. A file that is not whole and consistent is refused
with a CheckpointError that says what is wrong.
"""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from impatient_ros.checkpoint.container import CheckpointError, Contents, read_bytes, unpack
from impatient_ros.checkpoint.description import check_description
from impatient_ros.checkpoint.graph import Graph
from impatient_ros.checkpoint.resolution import Path, Resolution, paths_of
from impatient_ros.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from impatient_ros.network import ImpatientNetwork

__all__ = [
    'Checkpoint',
    'CheckpointFile',
    'check_finite',
    'contents_of',
    'file_of',
    'read',
    'unused_by',
    'with_network',
]

logger = logging.getLogger(__name__)


_File = TypeVar('_File', bound='CheckpointFile')


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """What a file carries, as far as it can be had without torch.

    The tuples have one value per class (`labels`) or per exit. `accuracies` are validation accuracies from 0
    to 1; where nobody measured them (`accuracies_measured` is False) they are stand-ins, evenly spaced, that
    only say "more work is better". `config` describes the network, as `ImpatientNetwork.config` does.
    `graph` is None in a file that has none: its network runs in torch only. `resolutions` ascend; the last is
    the network's own, to which the fields beside it belong. `half` says that weights are stored in half
    precision. `digest` is the file's SHA-256.
    """

    labels: tuple[str, ...]
    preprocessing: Preprocessing
    accuracies: tuple[float, ...]
    temperatures: tuple[float, ...]
    provenance: dict[str, Any]
    config: dict[str, Any]
    graph: Graph | None
    resolutions: tuple[Resolution, ...]
    digest: str
    accuracies_measured: bool = True
    half: bool = False

    @property
    def exits(self) -> int:
        """T, the number of exits."""
        return len(self.config['cuts'])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input: (3, height, width)."""
        return tuple(self.config['input_shape'])

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every exit at every resolution, cheapest (MACs) first."""
        return paths_of(self.resolutions)

    def without_graphs(self: _File) -> _File:
        """The same without graphs and their weights, for whoever has compiled them."""
        bare = tuple(replace(each, graph=None) for each in self.resolutions)
        return replace(self, graph=None, resolutions=bare)

    def with_fit(self: _File, fit: str) -> _File:
        """The same with pictures made square in another way, 'crop' or 'squash'. Raises ValueError."""
        fitted = [replace(each, preprocessing=each.preprocessing.with_fit(fit)) for each in self.resolutions]
        return replace(self, preprocessing=fitted[-1].preprocessing, resolutions=tuple(fitted))


@dataclass(frozen=True, kw_only=True)
class Checkpoint(CheckpointFile):
    """A file and its network, in eval mode on the CPU."""

    network: ImpatientNetwork


def read(path: str | pathlib.Path) -> CheckpointFile:
    """Read the file; torch is not needed. Raises CheckpointError, or OSError where it cannot be read."""
    contents = contents_of(path)
    try:
        return file_of(contents, str(path))
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error


def contents_of(path: str | pathlib.Path) -> Contents:
    """Description and tensors, checked by themselves. Raises CheckpointError, OSError."""
    try:
        contents = unpack(read_bytes(path), check_description)
        check_finite(contents.tensors)
        return contents
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error


def file_of(contents: Contents, path: str) -> CheckpointFile:
    """What is in the file `path`, from its contents. Raises CheckpointError."""
    description = contents.description
    measured = description['accuracies'] is not None
    resolutions = _resolutions(contents, path)
    own = resolutions[-1]
    return CheckpointFile(
        labels=tuple(description['labels']),
        preprocessing=own.preprocessing,
        accuracies=own.accuracies,
        temperatures=own.temperatures,
        provenance=description['provenance'],
        config=description['network'],
        graph=own.graph,
        resolutions=resolutions,
        digest=contents.digest,
        accuracies_measured=measured,
        half=any(each.dtype == np.float16 for each in contents.tensors.values()),
    )


def _resolutions(contents: Contents, path: str) -> tuple[Resolution, ...]:
    description = contents.description
    network, smaller = description['network'], description.get('resolutions', [])
    preprocessing = Preprocessing.from_dict(description['preprocessing'])
    heads = zip(accumulate(network['stage_macs']), network['exit_macs'], strict=True)
    own = {
        'side': min(network['input_shape'][1:]),
        'accuracies': description['accuracies'],
        'temperatures': description['temperatures'],
        'macs': [stages + head for stages, head in heads],
    }
    found = [*smaller, own]
    if own['accuracies'] is None:
        stand_ins = _stand_ins([each['macs'] for each in found])
        found = [each | {'accuracies': row} for each, row in zip(found, stand_ins, strict=True)]
    graphs = _graphs(contents, path)
    return tuple(
        Resolution(
            side=each['side'],
            preprocessing=preprocessing if each['side'] == own['side'] else preprocessing.at(each['side']),
            accuracies=tuple(each['accuracies']),
            temperatures=tuple(each['temperatures']),
            macs=tuple(each['macs']),
            graph=graph,
        )
        for each, graph in zip(found, graphs or [None] * len(found), strict=True)
    )


def _stand_ins(macs: Sequence[Sequence[int]]) -> list[list[float]]:
    """For accuracies that nobody measured: at each resolution they rise with depth, among all with MACs."""
    rising = [list(accumulate(row, max)) for row in macs]
    order = sorted((each, r, t) for r, row in enumerate(rising) for t, each in enumerate(row))
    ranks = {(r, t): rank for rank, (_, r, t) in enumerate(order, 1)}
    return [[ranks[r, t] / (len(order) + 1) for t in range(len(row))] for r, row in enumerate(macs)]


def with_network(file: CheckpointFile, network: ImpatientNetwork) -> Checkpoint:
    return Checkpoint(network=network, **{each.name: getattr(file, each.name) for each in fields(file)})


def check_finite(tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raise CheckpointError where a weight is infinite or not a number."""
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in 'biu' and not np.isfinite(tensor).all():
            raise CheckpointError(f'tensor {name} has values that are not finite numbers')


def unused_by(graphs: Iterable[Graph], tensors: Mapping[str, NDArray[Any]]) -> set[str]:
    """The tensors that no graph takes, aside from counts of batches, which only training needs."""
    used = {name for graph in graphs for name in graph.weights}
    return {name for name in tensors.keys() - used if not name.endswith('num_batches_tracked')}


def _graphs(contents: Contents, path: str) -> tuple[Graph, ...]:
    """One per resolution, or none."""
    description = contents.description
    if not contents.graphs:
        if contents.version == 1:
            why = 'of format version 1, write it anew: python -m impatient_ros.checkpoint convert OLD NEW'
        else:
            why = f'saved without one ({str(description.get("no_graph"))[:200]!r})'
        logger.warning('%s has no graph and runs in torch only: it is %s', path, why)
        return ()
    try:
        from impatient_ros.checkpoint.resolution_graphs import parse_graphs
    except ModuleNotFoundError as error:
        if error.name != 'onnx':
            raise
        logger.warning(
            '%s runs in torch only: the package onnx, which reads its graph, is not installed', path
        )
        return ()
    sides = [each['side'] for each in description.get('resolutions', [])]
    graphs = parse_graphs(contents.graphs, sides, contents.tensors, description['network'])
    if unused := unused_by(graphs, contents.tensors) - set(description.get('network_only', [])):
        raise CheckpointError(f'nothing uses its tensor {min(unused)[:60]}')
    return graphs
