"""Reading a checkpoint without torch: everything in it but the network as modules.

    file = read('model.safetensors')
    file.graph.part(0, ['logits_0'])        # what to compute, as ONNX, for a runtime

Reading downloads nothing and runs nothing from the file. A file that is not whole and consistent is refused
with a CheckpointError that says what is wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from impatient_ros.checkpoint.container import CheckpointError, Contents, read_bytes, unpack
from impatient_ros.checkpoint.description import check_description
from impatient_ros.checkpoint.graph import Graph
from impatient_ros.checkpoint.graph_check import parse_graph
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


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """What a file carries, as far as it can be had without torch.

    The tuples have one value per class (`labels`) or per exit. `accuracies` are validation accuracies from 0
    to 1; where nobody measured them (`accuracies_measured` is False) they are stand-ins, (t + 1) / (T + 1),
    that only say "deeper is better". `config` describes the network, as `ImpatientNetwork.config` does.
    `graph` is None in a file that has none: its network runs in torch only. `digest` is the file's SHA-256.
    """

    labels: tuple[str, ...]
    preprocessing: Preprocessing
    accuracies: tuple[float, ...]
    temperatures: tuple[float, ...]
    provenance: dict[str, Any]
    config: dict[str, Any]
    graph: Graph | None
    digest: str
    accuracies_measured: bool = True

    @property
    def exits(self) -> int:
        """T, the number of exits."""
        return len(self.config['cuts'])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input: (3, height, width)."""
        return tuple(self.config['input_shape'])


@dataclass(frozen=True, kw_only=True)
class Checkpoint(CheckpointFile):
    """A file and its network, in eval mode on the CPU."""

    network: ImpatientNetwork


def read(path: str | Path) -> CheckpointFile:
    """Read the file; torch is not needed. Raises CheckpointError, or OSError where it cannot be read."""
    contents = contents_of(path)
    try:
        return file_of(contents, str(path))
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error


def contents_of(path: str | Path) -> Contents:
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
    exits = len(description['network']['cuts'])
    measured = description['accuracies'] is not None
    stand_ins = [(t + 1) / (exits + 1) for t in range(exits)]
    return CheckpointFile(
        labels=tuple(description['labels']),
        preprocessing=Preprocessing.from_dict(description['preprocessing']),
        accuracies=tuple(description['accuracies'] if measured else stand_ins),
        temperatures=tuple(description['temperatures']),
        provenance=description['provenance'],
        config=description['network'],
        graph=_graph(contents, path),
        digest=contents.digest,
        accuracies_measured=measured,
    )


def with_network(file: CheckpointFile, network: ImpatientNetwork) -> Checkpoint:
    return Checkpoint(network=network, **{each.name: getattr(file, each.name) for each in fields(file)})


def check_finite(tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raise CheckpointError where a weight is infinite or not a number."""
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in 'biu' and not np.isfinite(tensor).all():
            raise CheckpointError(f'tensor {name} has values that are not finite numbers')


def unused_by(graph: Graph, tensors: Mapping[str, NDArray[Any]]) -> set[str]:
    """The tensors that the graph does not take, aside from counts of batches, which only training needs."""
    return {
        name for name in tensors.keys() - graph.weights.keys() if not name.endswith('num_batches_tracked')
    }


def _graph(contents: Contents, path: str) -> Graph | None:
    description = contents.description
    if contents.graph is None:
        if contents.version == 1:
            why = 'of format version 1, write it anew: python -m impatient_ros.checkpoint convert OLD NEW'
        else:
            why = f'saved without one ({str(description.get("no_graph"))[:200]!r})'
        logger.warning('%s has no graph and runs in torch only: it is %s', path, why)
        return None
    graph = parse_graph(contents.graph, contents.tensors, description['network'])
    if unused := unused_by(graph, contents.tensors) - set(description.get('network_only', [])):
        raise CheckpointError(f'nothing uses its tensor {min(unused)[:60]}')
    return graph
