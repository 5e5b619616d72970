"""What a file's graph says of its numbers in 8 bits: scales and zero points, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from impatient_ros.checkpoint.container import CheckpointError

__all__ = ['QUANTIZING', 'check_quantization']

QUANTIZING = ('QuantizeLinear', 'DequantizeLinear')
_EIGHT_BITS = (TensorProto.INT8, TensorProto.UINT8)


def check_quantization(graph: onnx.GraphProto, types: Mapping[str, tuple[int, list[int] | None]]) -> None:
    """Raise CheckpointError for a (de)quantisation that is none of 8 bits, or whose scales are not known,
    positive and one per tensor or per channel.

    Args:
        graph: has passed the checker of ONNX.
        types: element type and shape of every value that a node makes or takes.
    """
    nodes = [node for node in graph.node if node.op_type in QUANTIZING]
    wanted = {name for node in nodes for name in node.input[1:] if name}
    known = _constants(graph, wanted)
    for node in nodes:
        where = f'its graph: {node.op_type} of {node.input[0][:60]}'
        if others := [each.name for each in node.attribute if each.name != 'axis']:
            raise CheckpointError(f'{where} has {others[0][:60]}: only its axis is read')
        if len(node.input) != 3 or not known.keys() >= {*node.input[1:]}:
            raise CheckpointError(f'{where} needs a scale and a zero point that are constants')
        scale, zero = (known[name] for name in node.input[1:])
        kind, shape = types.get(node.input[0], (0, None))
        eight = types.get(node.output[0], (0, None))[0] if node.op_type == 'QuantizeLinear' else kind
        if eight not in _EIGHT_BITS or zero.dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
            raise CheckpointError(f'{where}: quantised numbers have 8 bits')
        if scale.dtype != np.float32 or not (np.isfinite(scale).all() and (scale > 0).all()):
            raise CheckpointError(f'{where}: scales are finite and above 0')
        if scale.shape != zero.shape or scale.ndim > 1:
            raise CheckpointError(f'{where}: one scale and zero point for all, or for each channel')
        if scale.ndim == 1 and shape is not None:
            axis = next((each.i for each in node.attribute), 1)
            if not -len(shape) <= axis < len(shape) or shape[axis] != len(scale):
                raise CheckpointError(f'{where} of {shape}: {len(scale)} scales do not fit axis {axis}')


def _constants(graph: onnx.GraphProto, wanted: set[str]) -> dict[str, NDArray[Any]]:
    """The values of these names that are constants."""
    found = [(each.name, each) for each in graph.initializer]
    for node in graph.node:
        if node.op_type == 'Constant':
            found += [(node.output[0], each.t) for each in node.attribute if each.name == 'value']
    try:
        return {name: numpy_helper.to_array(each) for name, each in found if name in wanted}
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise CheckpointError(f'its graph has a constant that cannot be read: {error}') from error
