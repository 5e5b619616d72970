"""Quantised numbers in a file's graph: 8 bits, with scales that are known, positive and one per channel."""

import numpy as np
import pytest
import torch
from checkpoint_files import SIZE, shared_network, with_graph, write
from onnx import TensorProto, helper, numpy_helper

from impatient_ros.checkpoint import CheckpointError, read
from impatient_ros.checkpoint.quantization_check import check_quantization


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('graph') / 'model.safetensors'
    write(shared_network().eval(), path)
    return path


def quantise(model, scale=0.5, zero=0, kind=np.int8, dtype=np.float32, name='image', **attributes):
    """The tensor `name` is quantised and back, first of all."""
    values = {'scale': np.asarray(scale, dtype), 'zero': np.asarray(zero, kind)}
    model.graph.initializer.extend(numpy_helper.from_array(each, key) for key, each in values.items())
    pair = [
        helper.make_node('QuantizeLinear', [name, 'scale', 'zero'], ['quantised'], **attributes),
        helper.make_node('DequantizeLinear', ['quantised', 'scale', 'zero'], ['back'], **attributes),
    ]
    rest = list(model.graph.node)
    del model.graph.node[:]
    for node in rest:
        for place, each in enumerate(node.input):
            if each == name:
                node.input[place] = 'back'
    model.graph.node.extend([*pair, *rest])


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'kind': np.uint8, 'zero': 128},
        {'scale': [0.5, 0.25, 1.0], 'zero': [0, 1, 2], 'axis': 1},
        {'scale': [0.5] * SIZE, 'zero': [0] * SIZE, 'axis': -1},
        {'name': 'exits.0.classify.weight', 'scale': [0.5] * 4, 'zero': [0] * 4, 'axis': 0},
    ],
)
def test_whole_tensors_and_channels_are_read(written, tmp_path, options):
    found = read(with_graph(written, tmp_path / 'new', lambda model: quantise(model, **options)))
    assert 'QuantizeLinear' in [node.op_type for node in found.graph.part(0, ['logits_2']).graph.node] or (
        options.get('name') is not None
    )


def computed_scale(model):
    quantise(model)
    del model.graph.initializer[-2:]
    shape = helper.make_node('Constant', [], ['zero'], value=numpy_helper.from_array(np.array(0, np.int8)))
    scale = helper.make_node('ReduceMax', ['image'], ['scale'], keepdims=0)
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([shape, scale, *rest])


def without_zero(model):
    quantise(model)
    for node in model.graph.node[:2]:
        del node.input[2]


def wide(model):
    """Dequantised from 32 bits."""
    values = {'scale': np.float32(1), 'wide': np.zeros(4, np.int32), 'zero': np.int32(0)}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(each), key) for key, each in values.items()
    )
    model.graph.node.insert(0, helper.make_node('DequantizeLinear', ['wide', 'scale', 'zero'], ['back']))


def bad_bytes(model):
    quantise(model)
    for each in model.graph.initializer:
        if each.name == 'scale':
            each.raw_data = b'123'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda m: quantise(m, scale=0.0), 'scales are finite and above 0'),
        (lambda m: quantise(m, scale=-1.0), 'scales are finite and above 0'),
        (lambda m: quantise(m, scale=np.nan), 'scales are finite and above 0'),
        (lambda m: quantise(m, scale=np.inf), 'scales are finite and above 0'),
        (lambda m: quantise(m, scale=[0.5, 0.5], zero=[0, 0], axis=1), '2 scales do not fit axis 1'),
        (lambda m: quantise(m, scale=[0.5] * 3, zero=[0] * 3, axis=9), 'axis 9|not a valid one of ONNX'),
        (lambda m: quantise(m, scale=[0.5] * 3, zero=0, axis=1), 'one scale and zero point for all'),
        (lambda m: quantise(m, scale=[[0.5]], zero=[[0]]), 'one scale and zero point|not a valid one'),
        (lambda m: quantise(m, kind=np.int16), '8 bits|not a valid one of ONNX'),
        (computed_scale, 'a scale and a zero point that are constants'),
        (without_zero, 'a scale and a zero point that are constants'),
        (wide, 'quantised numbers have 8 bits'),
        (bad_bytes, 'not a valid one of ONNX|cannot be read'),
    ],
)
def test_anything_else_is_refused_with_its_reason(written, tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        read(with_graph(written, tmp_path / 'new', change))


def test_later_versions_of_the_operators_are_read_as_far_as_they_are_these():
    """Blocks and saturation came with operator sets that our own exporter does not write."""
    values = {'scale': np.array(0.5, np.float32), 'zero': np.array(0, np.int8)}
    node = helper.make_node('QuantizeLinear', ['image', 'scale', 'zero'], ['out'], saturate=1)
    constants = [numpy_helper.from_array(each, name) for name, each in values.items()]
    graph = helper.make_graph([node], 'graph', [], [], constants)
    with pytest.raises(CheckpointError, match='has saturate: only its axis is read'):
        check_quantization(graph, {'image': (TensorProto.FLOAT, [1]), 'out': (TensorProto.INT8, [1])})
