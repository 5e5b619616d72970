"""Which layers suffer most from 8 bits: each one's alone, with everything else in single precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from impatient_ros.checkpoint.graph import boundary
from impatient_ros.runtime.packages import import_package
from training.quantization.quantized_graph import QuantizedGraph

__all__ = ['by_sensitivity']


def by_sensitivity(graph: QuantizedGraph, pictures: Sequence[NDArray[np.float32]]) -> list[str]:
    """The weights of the quantised layers, by the file's names, the most sensitive layer first.

    A layer's sensitivity is the largest mean squared change of any exit's scores, relative to their variance.

    Args:
        pictures: prepared for the graph's resolution, each [1, 3, H, W].
    """
    wanted = _scores(graph.plain, pictures)
    spread = [float(each.var()) + 1e-12 for each in wanted]
    errors = {}
    for weight, alone in _each_alone(graph):
        found = _scores(alone, pictures)
        errors[weight] = max(
            float(np.square(one - other).mean()) / variance
            for one, other, variance in zip(found, wanted, spread, strict=True)
        )
    return sorted(errors, key=errors.__getitem__, reverse=True)


def _each_alone(graph: QuantizedGraph) -> Iterator[tuple[str, onnx.ModelProto]]:
    """`graph.plain` with one layer's input and weight quantised, for each layer that is."""
    made = {name: node for node in graph.marked.graph.node for name in node.output}
    marked = {node.name: node for node in graph.marked.graph.node}
    scales = list(graph.marked.graph.initializer)
    for weight, names in graph.layers.items():
        read = {name: [made[each] for each in marked[name].input[:2] if each in made] for name in names}
        pairs = {
            name: pair
            for name, pair in read.items()
            if [each.op_type for each in pair] == ['DequantizeLinear'] * 2
        }
        if not pairs:
            continue
        nodes: list[onnx.NodeProto] = []
        for node in graph.plain.graph.node:
            if node.name in pairs:
                node = _behind_pairs(node, pairs[node.name], nodes)
            nodes.append(node)
        used = {each for node in nodes for each in node.input}
        before = {each.name for each in graph.plain.graph.initializer}
        yield (
            weight,
            helper.make_model(
                helper.make_graph(
                    nodes,
                    'alone',
                    graph.plain.graph.input,
                    graph.plain.graph.output,
                    [
                        *graph.plain.graph.initializer,
                        *(each for each in scales if each.name in used - before),
                    ],
                ),
                opset_imports=graph.plain.opset_import,
                ir_version=graph.plain.ir_version,
            ),
        )


def _behind_pairs(
    node: onnx.NodeProto, inputs: Sequence[onnx.NodeProto], nodes: list[onnx.NodeProto]
) -> onnx.NodeProto:
    """A copy of the node that reads quantised numbers, scaled as in `inputs`; what makes them is added."""
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    for place, like in enumerate(inputs):
        attributes = {each.name: helper.get_attribute_value(each) for each in like.attribute}
        name, scales = f'alone/{node.name}/{place}', like.input[1:]
        nodes += [
            helper.make_node('QuantizeLinear', [node.input[place], *scales], [name], **attributes),
            helper.make_node('DequantizeLinear', [name, *scales], [f'{name}/back'], **attributes),
        ]
        copied.input[place] = f'{name}/back'
    return copied


def _scores(model: onnx.ModelProto, pictures: Sequence[NDArray[np.float32]]) -> list[NDArray[Any]]:
    """Of each exit, [pictures, classes]."""
    runtime = import_package('onnxruntime', 'training.quantize', 'take another precision')
    session = runtime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    names = [each.name for each in model.graph.output if each.name.startswith('logits')]
    rows = [session.run(names, {boundary(0): picture}) for picture in pictures]
    return [np.concatenate(each) for each in zip(*rows, strict=True)]
