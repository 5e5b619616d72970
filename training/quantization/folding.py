"""Batch norm folded into the convolution before it, inside the graph: folded weights are what is quantised.

The fold is a few nodes that compute from the file's own tensors, and a runtime computes them once when it
compiles. So a quantised graph needs no weights of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

__all__ = ['FOLD', 'folded', 'layers', 'scoring_layers', 'with_values']

FOLD = 'fold/'  # begins the names of the nodes that fold, and of what they compute
LAYERS = ('Conv', 'Gemm', 'MatMul')  # have weights that are quantised


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with every batch norm that alone reads a convolution's output in that convolution.

    Weights are inputs, as in a checkpoint. Every node gets a name of its own.
    """
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    graph = twin.graph
    ranks = {each.name: len(each.type.tensor_type.shape.dim) for each in graph.input[1:]}
    users = Counter(name for node in graph.node for name in node.input)
    users.update(each.name for each in graph.output)
    norms = {
        node.input[0]: node
        for node in graph.node
        if node.op_type == 'BatchNormalization' and ranks.keys() >= {*node.input[1:]}
    }
    nodes: list[onnx.NodeProto] = []
    gone: list[onnx.NodeProto] = []
    for number, node in enumerate(graph.node):
        node.name = f'{node.op_type}_{number}'
        norm = norms.get(node.output[0])
        if (
            node.op_type == 'Conv'
            and norm is not None
            and users[node.output[0]] == 1
            and ranks.keys() >= {*node.input[1:]}
        ):
            nodes += _fold(node, norm, ranks[node.input[1]])
            gone.append(norm)
        nodes.append(node)
    kept = [node for node in nodes if not any(node is norm for norm in gone)]
    del graph.node[:]
    graph.node.extend(kept)
    return twin


def _fold(conv: onnx.NodeProto, norm: onnx.NodeProto, rank: int) -> Iterator[onnx.NodeProto]:
    """The nodes that compute the folded weight and bias, which `conv` then reads.

    y = scale (conv(x) + b - mean) / sqrt(variance + epsilon) + shift
    """
    epsilon = next((each.f for each in norm.attribute if each.name == 'epsilon'), 1e-5)
    scale, shift, mean, variance = norm.input[1:]
    made = Counter[str]()

    def node(kind: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
        made[kind] += 1
        name = f'{FOLD}{conv.output[0]}/{kind}_{made[kind]}'
        return helper.make_node(kind, inputs, [name], name=name, **attributes)

    def constant(value: NDArray[Any]) -> onnx.NodeProto:
        return node('Constant', value=numpy_helper.from_array(value))

    yield (small := constant(np.array(epsilon, np.float32)))
    yield (shape := constant(np.array([-1] + [1] * (rank - 1), np.int64)))
    yield (widened := node('Add', variance, small.output[0]))
    yield (deviation := node('Sqrt', widened.output[0]))
    yield (factor := node('Div', scale, deviation.output[0]))
    yield (column := node('Reshape', factor.output[0], shape.output[0]))
    yield (weight := node('Mul', conv.input[1], column.output[0]))
    if len(conv.input) > 2:
        yield (moved := node('Sub', conv.input[2], mean))
        yield (scaled := node('Mul', moved.output[0], factor.output[0]))
        yield (bias := node('Add', shift, scaled.output[0]))
    else:
        yield (scaled := node('Mul', mean, factor.output[0]))
        yield (bias := node('Sub', shift, scaled.output[0]))
    inputs = [conv.input[0], weight.output[0], bias.output[0]]
    del conv.input[:]
    conv.input.extend(inputs)
    conv.output[0] = norm.output[0]


def with_values(model: onnx.ModelProto, weights: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    """The folded graph as one that stands alone: its weights, and what folding computes, are values in it."""
    graph = model.graph
    rest = [node for node in graph.node if not node.name.startswith(FOLD)]
    values = {**weights, **_computed(model, weights)}
    used = {name for node in rest for name in node.input}
    return helper.make_model(
        helper.make_graph(
            rest,
            'values',
            graph.input[:1],
            graph.output,
            [
                *(numpy_helper.from_array(each, name) for name, each in values.items() if name in used),
                *graph.initializer,
            ],
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )


def _computed(model: onnx.ModelProto, weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    nodes = [node for node in model.graph.node if node.name.startswith(FOLD)]
    if not nodes:
        return {}
    read = {name for node in nodes for name in node.input}
    names = [node.output[0] for node in nodes]
    alone = helper.make_graph(
        nodes,
        'fold',
        [],
        [onnx.ValueInfoProto(name=name) for name in names],
        [numpy_helper.from_array(each, name) for name, each in weights.items() if name in read],
    )
    run = ReferenceEvaluator(helper.make_model(alone, opset_imports=model.opset_import))
    return dict(zip(names, run.run(None, {}), strict=True))


def layers(model: onnx.ModelProto) -> dict[str, list[str]]:
    """The names of the nodes of a folded graph that have weights, by the file's name of the weight.

    Graphs of several resolutions have the same weights, and other nodes; where exits share a layer, several
    nodes of one graph read one weight.
    """
    weights = {each.name for each in model.graph.input[1:]}
    behind = {
        node.output[0]: next(name for name in node.input if name in weights)
        for node in model.graph.node
        if node.name.startswith(FOLD) and node.op_type == 'Mul' and node.input[0] in weights
    }
    found: dict[str, list[str]] = {}
    for node in model.graph.node:
        if node.op_type in LAYERS and (node.input[1] in weights or node.input[1] in behind):
            found.setdefault(behind.get(node.input[1], node.input[1]), []).append(node.name)
    return found


def scoring_layers(model: onnx.ModelProto) -> list[str]:
    """The layers of a folded graph that give the exits' scores, by the file's names of their weights; one per
    exit, the same ones where exits share them.
    """
    weights = {name: weight for weight, names in layers(model).items() for name in names}
    makers = {name: node for node in model.graph.node for name in node.output}
    found = []
    for each in model.graph.output:
        if not each.name.startswith('logits'):
            continue
        node = makers.get(each.name)
        while node is not None and node.name not in weights:  # a bias, a reshape
            node = next((makers[name] for name in node.input if name in makers), None)
        if node is not None:
            found.append(weights[node.name])
    return found
