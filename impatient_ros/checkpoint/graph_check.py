"""A graph from a file that nobody vouches for: parsed and checked in bounded work and memory.

    graph = parse_graph(tensors.pop('graph').tobytes(), tensors, network.config)

What is refused: operators that are not ONNX's own, control flow, functions, external data, text and random
numbers, (de)quantisation to anything but 8 bits, nodes out of order (and so cycles), weights that the file
lacks or has in another shape, tensors that nothing uses, and any tensor whose size is not known beforehand or
is out of proportion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto

from impatient_ros.checkpoint.container import CheckpointError
from impatient_ros.checkpoint.graph import Graph, boundary, logits
from impatient_ros.checkpoint.quantization_check import check_quantization

__all__ = ['LARGEST_GRAPH', 'parse_graph']

# Four of five kinds of torchvision's classifiers stay below 0.3 MB. An empty node takes 2 bytes of a file and
# 150 of memory.
LARGEST_GRAPH = 4 << 20  # bytes
_MOST_NODES = 50_000
_LARGEST_VALUE = 1 << 28  # elements of one tensor: 1 GB of float32
_OPSETS = range(13, 24)
_NUMBERS = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.DOUBLE: np.dtype(np.float64),
    TensorProto.INT64: np.dtype(np.int64),
    TensorProto.INT32: np.dtype(np.int32),
    TensorProto.UINT8: np.dtype(np.uint8),
    TensorProto.INT8: np.dtype(np.int8),
    TensorProto.BOOL: np.dtype(np.bool_),
}
# Answers must not depend on chance, nor on decoders that a file could choose.
_REFUSED = {
    'Bernoulli', 'ImageDecoder', 'Multinomial', 'RandomNormal', 'RandomNormalLike', 'RandomUniform',
    'RandomUniformLike', 'RegexFullMatch', 'StringConcat', 'StringNormalizer', 'StringSplit',
    'TfIdfVectorizer',
}  # fmt: skip


def parse_graph(data: bytes, tensors: Mapping[str, NDArray[Any]], network: Mapping[str, Any]) -> Graph:
    """The graph of a network as `network` describes it; `tensors` are the file's. Raises CheckpointError."""
    if len(data) > LARGEST_GRAPH:
        raise CheckpointError(f'its graph takes {len(data)} bytes, at most {LARGEST_GRAPH} are read')
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise CheckpointError(f'its graph is not one of ONNX: {error}') from error
    _check_operators(model)
    _check_interface(model.graph, network)
    weights = _weights(model.graph, tensors)
    _check_values(model)
    graph = Graph(model, weights)
    if idle := weights.keys() - graph.used():
        raise CheckpointError(f'its graph takes {_first(idle)} and does not use it')
    return graph


def _check_operators(model: onnx.ModelProto) -> None:
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer or graph.quantization_annotation:
        raise CheckpointError('its graph has functions, sparse tensors or the like: plain operators are read')
    domains = {each.domain: each.version for each in model.opset_import}
    opset = domains.get('', domains.get('ai.onnx', 0))
    if domains.keys() - {'', 'ai.onnx'} or len(model.opset_import) != 1 or opset not in _OPSETS:
        found = _first(f'{name or "ai.onnx"} {version}' for name, version in domains.items())
        raise CheckpointError(
            f'its graph is of the operator set {found}: ai.onnx {_OPSETS[0]} to {_OPSETS[-1]} is read'
        )
    if len(graph.node) > _MOST_NODES:
        raise CheckpointError(f'its graph has {len(graph.node)} nodes, at most {_MOST_NODES} are read')
    for node in graph.node:
        if node.domain not in ('', 'ai.onnx') or not onnx.defs.has(node.op_type, max_inclusive_version=opset):
            raise CheckpointError(
                f'its graph uses {node.domain[:60]}.{node.op_type[:60]}, no operator of ONNX'
            )
        if node.op_type in _REFUSED:
            raise CheckpointError(f'its graph uses {node.op_type}, which no network here needs')
        for each in node.attribute:
            if each.ref_attr_name or each.HasField('g') or each.graphs:
                raise CheckpointError(
                    f'its graph has a graph inside {node.op_type}: control flow is not read'
                )
            if each.HasField('sparse_tensor') or each.sparse_tensors:
                raise CheckpointError(f'its graph has a sparse tensor in {node.op_type}')
            _check_stored(*(each.tensors if each.tensors else [each.t]))
    _check_stored(*graph.initializer)


def _check_stored(*tensors: TensorProto) -> None:
    for each in tensors:
        if each.data_location != TensorProto.DEFAULT or each.external_data or each.HasField('segment'):
            raise CheckpointError(
                f'its graph keeps {each.name[:60]} in another file: external data are not read'
            )


def _check_interface(graph: onnx.GraphProto, network: Mapping[str, Any]) -> None:
    """The image first, then weights; per exit the features and the scores."""
    exits = len(network['cuts'])
    outputs = [name for t in range(exits) for name in (boundary(t + 1), logits(t))]
    if [each.name for each in graph.output] != outputs:
        raise CheckpointError(
            f'its graph gives {_first(each.name for each in graph.output)}, not {_first(outputs)}'
        )
    names = [each.name for each in graph.input]
    if not names or names[0] != boundary(0) or len({*names, *outputs}) != len(names) + len(outputs):
        raise CheckpointError(f'its graph takes {_first(names)}: the image and each weight once are needed')
    image = [1, *network['input_shape']]
    if _type_of(graph.input[0]) != (TensorProto.FLOAT, image):
        raise CheckpointError(f'its graph does not take images of {image}')
    for output, exit_scores in zip(graph.output, [False, True] * exits, strict=True):
        kind, shape = _type_of(output)
        if kind != TensorProto.FLOAT or not shape or (exit_scores and shape != [1, network['classes']]):
            raise CheckpointError(
                f'its graph gives {output.name} of {shape}' + f', not [1, {network["classes"]}]' * exit_scores
            )


def _weights(graph: onnx.GraphProto, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The tensors that the graph takes, by name; floating point as float32."""
    weights = {}
    for value in graph.input[1:]:
        kind, shape = _type_of(value)
        tensor = tensors.get(value.name)
        if tensor is None:
            raise CheckpointError(f'its graph needs {value.name[:60]}, which is missing')
        if tensor.dtype.kind not in 'biu':  # bfloat16 is none of NumPy's own kinds
            tensor = np.asarray(tensor, np.float32)
        if list(tensor.shape) != shape or tensor.dtype != _NUMBERS.get(kind):
            raise CheckpointError(
                f'{value.name[:60]} is {tensor.dtype} {list(tensor.shape)}, its graph takes another: {shape}'
            )
        weights[value.name] = tensor
    return weights


def _check_values(model: onnx.ModelProto) -> None:
    """Every value is a tensor of numbers whose size is known and in proportion; nodes are in order."""
    try:
        onnx.checker.check_model(model)
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        ValueError,
        RuntimeError,
    ) as error:
        reason = ' '.join(str(error).split())
        raise CheckpointError(f'its graph is not a valid one of ONNX: {reason[:200]}') from error
    sizes = {each.name: _type_of(each) for each in (*inferred.graph.value_info, *inferred.graph.output)}
    for node in inferred.graph.node:
        for name in node.output:
            kind, shape = sizes.get(name, (0, None)) if name else (TensorProto.FLOAT, [])
            if kind not in _NUMBERS or shape is None:
                raise CheckpointError(
                    f'its graph: the size of {name[:60]} ({node.op_type}) is not known beforehand'
                )
            if prod(shape) > _LARGEST_VALUE:
                raise CheckpointError(
                    f'its graph: {name[:60]} has {prod(shape)} elements, at most {_LARGEST_VALUE}'
                )
            # Inference believes what a Reshape says.
            given = sizes.get(node.input[0], (0, None))[1] if node.op_type == 'Reshape' else shape
            if given is not None and prod(given) != prod(shape):
                raise CheckpointError(f'its graph: {node.input[0][:60]} of {given} cannot become {shape}')
    check_quantization(model.graph, sizes | {each.name: _type_of(each) for each in model.graph.input})


def _type_of(value: onnx.ValueInfoProto) -> tuple[int, list[int] | None]:
    """Element type and shape; None where a side is not a number."""
    kind = value.type.tensor_type
    sides = list(kind.shape.dim)
    known = kind.HasField('shape') and all(
        side.HasField('dim_value') and side.dim_value >= 0 for side in sides
    )
    return kind.elem_type, [side.dim_value for side in sides] if known else None


def _first(names: Iterable[str]) -> str:
    shown = [name[:60] for name in sorted(names)]
    return ', '.join(shown[:4]) + (f' and {len(shown) - 4} more' if len(shown) > 4 else '')
