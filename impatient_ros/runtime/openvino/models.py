"""The graphs of a network at several resolutions as OpenVINO models that share their weights' memory.

OpenVINO folds batch norm into weights when it compiles, for every compiled model anew, and each keeps both
what it was given and what it packed. Folded once, before, all of them are given the same memory, and compile
in less than half the time (test/benchmark/results/runtimes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from impatient_ros.checkpoint.graph import boundary, logits

if TYPE_CHECKING:
    from impatient_ros.checkpoint.graph import Graph

__all__ = ['read_model', 'read_sharing']

SMALL = 4096  # bytes; below that sharing saves nothing


def read_model(core: Any, graph: Graph) -> Any:
    """The whole network: an openvino.Model whose outputs are all features and scores."""
    features = [boundary(t + 1) for t in range(graph.exits)]
    everything = [*features, *(logits(t) for t in range(graph.exits))]
    return core.read_model(graph.part(0, everything).SerializeToString())


def read_sharing(core: Any, graphs: Sequence[Graph]) -> Iterator[Any]:
    """The whole network at each resolution, in turn; `graphs` are one network's at several."""
    # What openvino's own converter calls too; there is no public name for it.
    from openvino._offline_transformations import apply_moc_transformations

    known: dict[bytes, Any] = {}
    read: list[tuple[Graph, Any]] = []
    for graph in graphs:
        whole = next((model for other, model in read if _same(graph, other)), None)
        if whole is None:
            whole = read_model(core, graph)
            # Folded for any size, or what depends on sizes would be folded with it.
            whole.reshape([1, 3, -1, -1])
            apply_moc_transformations(whole, cf=True)
            _share_constants(whole, known)
            read.append((graph, whole))
        model = whole.clone()  # of the computation; constants are shared
        model.reshape([1, *graph.input_shape])
        yield model


def _same(graph: Graph, other: Graph) -> bool:
    """Whether the two compute the same: they differ in the declared sizes alone."""
    one, two = graph.model.graph, other.model.graph
    return one.node == two.node and one.initializer == two.initializer


def _share_constants(model: Any, known: dict[bytes, Any]) -> None:
    """Let constants use the memory of those in `known`, by digest; what is not there yet is added."""
    from openvino.op import Constant

    for node in model.get_ordered_ops():
        if node.get_type_name() != 'Constant' or node.get_byte_size() < SMALL:
            continue
        data = node.data
        digest = hashlib.sha256(f'{data.dtype} {data.shape}'.encode())
        digest.update(data)
        key = digest.digest()
        if key not in known:
            known[key] = data.copy()  # OpenVINO shares only what may be written to
        shared = Constant(known[key], shared_memory=True)
        shared.set_friendly_name(node.get_friendly_name())
        node.output(0).replace(shared.output(0))
