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
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from impatient_ros.checkpoint.container import CheckpointError, Contents, read_bytes, unpack
from impatient_ros.checkpoint.description import check_description
from impatient_ros.checkpoint.graph import Graph
from impatient_ros.checkpoint.precisions import PrecisionRecord, split_stored
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
    'graphs_of',
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
    precision. `digest` is the file's SHA-256. `precisions` says what paths are worth in other precisions than
    single, by name; `quantised` are the graphs of int8, one per resolution, or none.
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
    precisions: dict[str, PrecisionRecord] = field(default_factory=dict)
    quantised: tuple[Graph, ...] = ()

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
        return replace(self, graph=None, resolutions=bare, quantised=())

    def at_precision(self: _File, precision: str) -> _File:
        """The same with each path's accuracy and temperature in that precision, where it was measured."""
        record = self.precisions.get(precision)
        if record is None:
            if precision != 'f32':
                logger.warning(
                    'the checkpoint does not say how accurate it is in %s: that in f32 is taken '
                    '(python -m training.evaluate --precision %s)',
                    precision, precision,
                )  # fmt: skip
            return self
        rows = zip(self.resolutions, record.accuracies, record.temperatures, strict=True)
        found = tuple(replace(each, accuracies=row, temperatures=fitted) for each, row, fitted in rows)
        own = found[-1]
        return replace(
            self,
            resolutions=found,
            accuracies=own.accuracies,
            temperatures=own.temperatures,
            accuracies_measured=True,
        )

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
    graphs, quantised = _graphs(contents, path)
    resolutions = _resolutions(description, graphs)
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
        precisions={
            name: PrecisionRecord.from_dict(each) for name, each in description.get('precisions', {}).items()
        },
        quantised=quantised,
    )


def _resolutions(description: Mapping[str, Any], graphs: Sequence[Graph | None]) -> tuple[Resolution, ...]:
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


def _graphs(contents: Contents, path: str) -> tuple[tuple[Graph, ...], tuple[Graph, ...]]:
    """One per resolution, or none; and the same in int8."""
    description = contents.description
    if not contents.graphs:
        if contents.version == 1:
            why = 'of format version 1, write it anew: python -m impatient_ros.checkpoint convert OLD NEW'
        else:
            why = f'saved without one ({str(description.get("no_graph"))[:200]!r})'
        logger.warning('%s has no graph and runs in torch only: it is %s', path, why)
        return (), ()
    try:
        return graphs_of(contents.graphs, description, contents.tensors)
    except ModuleNotFoundError as error:
        if error.name != 'onnx':
            raise
        logger.warning(
            '%s runs in torch only: the package onnx, which reads its graph, is not installed', path
        )
        return (), ()


def graphs_of(
    stored: Mapping[str, bytes], description: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> tuple[tuple[Graph, ...], tuple[Graph, ...]]:
    """A file's graphs, one per resolution, and those of int8, if there are any. Raises CheckpointError."""
    from impatient_ros.checkpoint.resolution_graphs import parse_graphs

    single, int8 = split_stored(stored)
    if bool(int8) != ('int8' in description.get('precisions', {})):
        raise CheckpointError('its int8 graph and what precisions says of int8 come together')
    sides = [each['side'] for each in description.get('resolutions', [])]
    graphs = parse_graphs(single, sides, tensors, description['network'])
    # What was cast to single precision is cast once.
    cast = {**tensors, **{name: each for graph in graphs for name, each in graph.weights.items()}}
    try:
        quantised = parse_graphs(int8, sides, cast, description['network']) if int8 else ()
    except CheckpointError as error:
        raise CheckpointError(f'in int8: {error}') from error
    used = (*graphs, *quantised)
    if unused := unused_by(used, tensors) - set(description.get('network_only', [])):
        raise CheckpointError(f'nothing uses its tensor {min(unused)[:60]}')
    return graphs, quantised
