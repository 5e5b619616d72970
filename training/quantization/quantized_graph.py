"""A checkpoint's graph in int8, by NNCF's post-training quantisation.

Post-training quantisation as in Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018; scales and corrected biases are what NNCF finds on calibration
pictures.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from impatient_ros.checkpoint.graph import Graph
from impatient_ros.runtime.packages import import_package
from training.quantization.folding import FOLD, folded, layers, with_values

__all__ = ['QuantizedGraph', 'quantized']

# NNCF names a quantised weight after the weight.
_QUANTIZED_WEIGHT = re.compile(r'q_output_(.+)_\d+')


class QuantizedGraph:
    """A network's graph at one resolution, before and after.

    Attributes:
        folded: in single precision, weights are inputs.
        plain: the same with values for weights.
        marked: `plain` as NNCF returns it.
        layers: the nodes that have weights, by the file's name of the weight.
        stored: `marked` with the file's tensors for weights again: what a checkpoint stores.
    """

    def __init__(self, graph: Graph, pictures: Sequence[NDArray[np.float32]], kept: Iterable[str]) -> None:
        self.folded = folded(graph.model)
        self.plain = with_values(self.folded, graph.weights)
        self.layers = layers(self.folded)
        self.marked = _quantized_by_nncf(
            self.plain, pictures, [node for name in {*kept} & {*self.layers} for node in self.layers[name]]
        )
        self.stored = _restored(self.marked, self.plain, self.folded)


def quantized(
    graph: Graph, pictures: Sequence[NDArray[np.float32]], kept: Iterable[str] = ()
) -> QuantizedGraph:
    """The graph with its layers in int8.

    Args:
        pictures: to calibrate on, prepared for this resolution, each [1, 3, H, W].
        kept: weights, by the file's names, whose layers stay in single precision.

    Raises RuntimeUnavailableError without the package nncf.
    """
    return QuantizedGraph(graph, pictures, kept)


def _quantized_by_nncf(
    model: onnx.ModelProto, pictures: Sequence[NDArray[np.float32]], kept: Sequence[str]
) -> onnx.ModelProto:
    nncf = import_package('nncf', 'training.quantize', 'take another precision')
    logging.getLogger('nncf').setLevel(logging.WARNING)
    entry = model.graph.input[0].name
    attention = any(node.op_type == 'Softmax' for node in model.graph.node)
    return nncf.quantize(
        model,
        nncf.Dataset([{entry: each} for each in pictures]),
        subset_size=len(pictures),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER if attention else None,
        ignored_scope=nncf.IgnoredScope(names=list(kept)) if kept else None,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            # Seven bits for weights: processors without VNNI add two products in 16 bits, which saturates.
            overflow_fix=nncf.OverflowFix.ENABLE,
            # One scale per tensor: ONNX Runtime does not execute depthwise convolutions of others.
            activations_quantization_params=nncf.quantization.advanced_parameters.QuantizationParameters(
                per_channel=False
            ),
            # These would change weights, which the file has once for all precisions.
            disable_channel_alignment=True,
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1),
        ),
    )


def _restored(marked: onnx.ModelProto, plain: onnx.ModelProto, original: onnx.ModelProto) -> onnx.ModelProto:
    """`marked` with weights as inputs: the quantised ones are computed from them."""
    before = {each.name: each for each in plain.graph.initializer}
    constants = {each.name: each for each in original.graph.initializer}
    known = {each.name for each in original.graph.input} | {
        name for node in original.graph.node for name in node.output
    }
    scales = {node.input[0]: node for node in marked.graph.node if node.op_type == 'DequantizeLinear'}
    nodes, initializers, renamed = [], [], {}
    for each in marked.graph.initializer:
        found = _QUANTIZED_WEIGHT.fullmatch(each.name)
        if each.data_type == TensorProto.INT8 and found and found[1] in before and each.name in scales:
            scale = scales[each.name]
            nodes.append(
                helper.make_node(
                    'QuantizeLinear', [found[1], *scale.input[1:]], [each.name], **_attributes(scale)
                )
            )
        elif each.name in before and _equal(each, before[each.name]):
            if each.name in constants:
                initializers.append(each)
        else:  # scales, zero points and corrected biases
            if each.name in known or each.name in constants:
                renamed[each.name] = f'corrected/{each.name}'
            initializers.append(onnx.TensorProto())
            initializers[-1].CopyFrom(each)
            initializers[-1].name = renamed.get(each.name, each.name)
    for node in marked.graph.node:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        for place, name in enumerate(copied.input):
            copied.input[place] = renamed.get(name, name)
        nodes.append(copied)
    outputs = [each.name for each in original.graph.output]
    everything = [*(node for node in original.graph.node if node.name.startswith(FOLD)), *nodes]
    kept = _needed(everything, outputs)
    used = {name for node in kept for name in node.input}
    return helper.make_model(
        helper.make_graph(
            kept,
            'int8',
            [each for number, each in enumerate(original.graph.input) if number == 0 or each.name in used],
            original.graph.output,
            [each for each in initializers if each.name in used],
        ),
        opset_imports=original.opset_import,
        ir_version=original.ir_version,
    )


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that `outputs` depend on, each behind what it reads."""
    makers = {name: number for number, node in enumerate(nodes) for name in node.output}
    done: dict[int, None] = {}
    waiting = [makers[name] for name in reversed(list(outputs))]
    while waiting:
        number = waiting[-1]
        before = {makers[name] for name in nodes[number].input if name in makers} - done.keys()
        if before:
            waiting += before
        else:
            done[waiting.pop()] = None
    return [nodes[number] for number in done]


def _attributes(node: onnx.NodeProto) -> Mapping[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _equal(one: onnx.TensorProto, other: onnx.TensorProto) -> bool:
    return np.array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))
