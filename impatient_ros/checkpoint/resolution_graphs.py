"""The graphs of a network's resolutions, in few bytes.

Where two graphs have the same nodes (most convolutional networks), the smaller one follows from the larger by
giving the image another size, and is not stored. Where they have not, as with padding that depends on the
size, the graph of a resolution is stored deflated: names make up most of it, a tenth is left.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from impatient_ros.checkpoint.container import CheckpointError
from impatient_ros.checkpoint.graph import Graph, boundary
from impatient_ros.checkpoint.graph_check import LARGEST_GRAPH, parse_graph

__all__ = ['graph_name', 'parse_graphs', 'to_store']

# Of all resolutions together: reading them stays a matter of seconds. 32 of efficientnet_v2_s have 50,000.
_MOST_NODES = 100_000


def graph_name(side: int) -> str:
    """The tensor with the graph of the resolution of `side` px where it has one of its own."""
    return f'graph_{side}'


def to_store(graphs: Mapping[int, bytes], main: bytes) -> dict[str, bytes]:
    """What has to be stored beside the graph `main` so that `parse_graphs` gives `graphs`, by side."""
    model = onnx.load_model_from_string(main)
    return {
        graph_name(side): zlib.compress(data, 9)
        for side, data in graphs.items()
        if _resized(model, side).SerializeToString(deterministic=True) != data
    }


def parse_graphs(
    stored: Mapping[str, bytes],
    sides: Sequence[int],
    tensors: Mapping[str, NDArray[Any]],
    network: Mapping[str, Any],
) -> tuple[Graph, ...]:
    """The graphs of the resolutions `sides` (ascending) and of the network's own, in this order.

    `stored` are the file's by name, all of them checked as `parse_graph` does. Raises CheckpointError.
    """
    if unknown := stored.keys() - {'graph', *map(graph_name, sides)}:
        raise CheckpointError(f'nothing uses its tensor {min(unknown)}')
    if 'graph' not in stored:
        found = min(stored, default='none')
        raise CheckpointError(f'it has {found} and lacks the graph of its largest resolution')
    main = parse_graph(stored['graph'], tensors, network)
    # Those that were cast to single precision are cast once.
    shared = {**tensors, **main.weights}
    graphs, nodes = [], len(main.model.graph.node)
    for side in sides:
        name = graph_name(side)
        if name in stored:
            data = _inflated(name, stored[name])
        else:
            data = _resized(main.model, side).SerializeToString()
        resized = {**network, 'input_shape': [network['input_shape'][0], side, side]}
        try:
            graphs.append(parse_graph(data, shared, resized))
        except CheckpointError as error:
            raise CheckpointError(f'at {side} px: {error}') from error
        nodes += len(graphs[-1].model.graph.node)
        if nodes > _MOST_NODES:
            raise CheckpointError(f'its graphs have more than {_MOST_NODES} nodes together')
    return (*graphs, main)


def _resized(model: onnx.ModelProto, side: int) -> onnx.ModelProto:
    """The graph for an image of `side` px; sizes that do not follow are left out, which the check refuses."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    graph = twin.graph
    channels = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    shape = (1, channels, side, side)
    graph.input[0].CopyFrom(helper.make_tensor_value_info(boundary(0), TensorProto.FLOAT, shape))
    for output in graph.output:
        output.type.tensor_type.ClearField('shape')
    try:
        inferred = onnx.shape_inference.infer_shapes(twin, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        reason = ' '.join(str(error).split())
        raise CheckpointError(f'its graph does not take images of {side} px: {reason[:200]}') from error
    for output, seen in zip(graph.output, inferred.output, strict=True):
        kind = seen.type.tensor_type
        sides = [each.dim_value for each in kind.shape.dim]
        output.CopyFrom(
            helper.make_tensor_value_info(
                output.name, kind.elem_type, sides if kind.HasField('shape') else None
            )
        )
    return twin


def _inflated(name: str, data: bytes) -> bytes:
    inflate = zlib.decompressobj()
    try:
        found = inflate.decompress(data, LARGEST_GRAPH + 1)
    except zlib.error as error:
        raise CheckpointError(f'{name} cannot be inflated: {error}') from error
    if len(found) <= LARGEST_GRAPH and (not inflate.eof or inflate.unused_data):
        raise CheckpointError(f'{name} cannot be inflated: it is cut off, or followed by something else')
    return found
