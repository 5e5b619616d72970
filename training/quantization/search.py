"""How many layers can be in int8 without losing accuracy: fewer and fewer are, until that is so."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from impatient_ros.checkpoint import CheckpointFile, Resolution
from impatient_ros.checkpoint.graph import Graph
from impatient_ros.checkpoint.precisions import MOST_DROP, PrecisionRecord
from impatient_ros.checkpoint.reading import contents_of
from impatient_ros.checkpoint.resolution_graphs import parse_graphs, to_store
from impatient_ros.runtime import Runtime, Source, select_runtime
from training.data.labelled_pictures import Pictures
from training.quantization.folding import folded, scoring_layers
from training.quantization.quantized_graph import QuantizedGraph, quantized
from training.quantization.sensitivity import by_sensitivity
from training.scoring.precision import compared, scores_on

__all__ = ['Candidate', 'best_candidate']

# Of the layers, the most sensitive ones that stay in single precision, in turn. Few tries, since each runs
# all labelled pictures; where two of five layers do not suffice, little is left of what int8 saves. Chosen,
# not measured.
SHARES = (0.05, 0.15, 0.4)
PROBES = 16  # calibration pictures on which layers are compared: every layer runs them by itself

log = logging.getLogger(__name__)


class Candidate(NamedTuple):
    """Graphs in int8, and what they are worth.

    Attributes:
        stored: as `resolution_graphs.parse_graphs` takes them.
        single: weights, by the file's names, whose layers stayed in single precision.
        layers: how many layers there are.
        record: measured.
    """

    stored: dict[str, bytes]
    single: tuple[str, ...]
    layers: int
    record: PrecisionRecord

    @property
    def largest_drop(self) -> float:
        """In accuracy, of any path."""
        return max(drop.mean for drop in self.record.all_drops())

    @property
    def holds(self) -> bool:
        """Whether no path loses more than the limit, on these pictures; how sure that is the record says."""
        return self.largest_drop <= MOST_DROP


def best_candidate(
    path: str | Path, file: CheckpointFile, learn: Pictures, pictures: Pictures, about: str
) -> Candidate:
    """The one with most layers in int8 that holds the limit, or that which loses least.

    Args:
        path: of `file`, which has a graph.
        learn: to calibrate on.
        pictures: labelled with the classes of the file.
        about: which pictures these are, for people.
    """
    tensors = contents_of(path).tensors
    graphs = tuple(each.graph for each in file.resolutions if each.graph is not None)
    sides = [each.side for each in file.resolutions]
    source = Source(graphs)
    single = scores_on(_runtime(source, 'f32'), file.resolutions, pictures)

    def tried(names: tuple[str, ...]) -> tuple[Candidate, QuantizedGraph]:
        own, stored = _quantized_at_each(file.resolutions, graphs, learn, names)
        parsed = parse_graphs(stored, sides[:-1], tensors, file.config)
        runtime = _runtime(Source(graphs, quantised=parsed), 'int8')
        measured = (
            f'{about}, {len(pictures)} pictures, {runtime.name} on {runtime.describe()["processor"]}; '
            f'{len(names)} of {len(own.layers)} layers in f32'
        )
        record = compared(single, scores_on(runtime, file.resolutions, pictures), measured)
        found = Candidate(stored, names, len(own.layers), record)
        log.info(
            '%d of %d layers in single precision: no path loses more than %.2f points',
            len(names), found.layers, 100 * found.largest_drop,
        )  # fmt: skip
        return found, own

    exits = tuple(dict.fromkeys(scoring_layers(folded(graphs[-1].model))))  # heads may share one
    first, own = tried(exits)
    candidates = [first]
    if not first.holds:
        order = by_sensitivity(own, _prepared(file.resolutions[-1], learn, PROBES))
        for count in sorted({max(1, round(share * len(order))) for share in SHARES}):
            candidates.append(tried((*exits, *order[:count]))[0])
            if candidates[-1].holds:
                break
    if candidates[-1].holds:
        return candidates[-1]
    return min(candidates, key=lambda each: each.largest_drop)


def _quantized_at_each(
    resolutions: Sequence[Resolution], graphs: Sequence[Graph], learn: Pictures, names: tuple[str, ...]
) -> tuple[QuantizedGraph, dict[str, bytes]]:
    """The graph of the largest resolution, and all of them as a file stores them.

    Where a graph follows from the largest one's, so does the quantised one, with its scales.
    """
    own = quantized(graphs[-1], _prepared(resolutions[-1], learn), names)
    main = own.stored.SerializeToString(deterministic=True)
    others = {
        each.side: quantized(graph, _prepared(each, learn), names).stored.SerializeToString(
            deterministic=True
        )
        for each, graph in zip(resolutions[:-1], graphs[:-1], strict=True)
        if not _same(graph, graphs[-1])
    }
    return own, {'graph': main, **to_store(others, main)}


def _same(graph: Graph, other: Graph) -> bool:
    """Whether the two compute the same, of images of two sizes."""
    one, two = graph.model.graph, other.model.graph
    return one.node == two.node and one.initializer == two.initializer


def _prepared(
    resolution: Resolution, pictures: Pictures, count: int | None = None
) -> list[NDArray[np.float32]]:
    return [resolution.preprocessing(picture) for picture in islice(pictures.images, count)]


def _runtime(source: Source, precision: str) -> Runtime:
    return select_runtime(source, 'openvino', 'cpu', precision=precision)
