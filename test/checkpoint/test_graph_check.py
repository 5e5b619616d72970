"""Graphs that are broken, foreign or hostile are refused with the reason, before anything is computed."""

import resource

import numpy as np
import onnx
import pytest
import torch
from checkpoint_files import rewrite, shared_network, with_graph, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from impatient_ros.checkpoint import CheckpointError, read


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('graph') / 'model.safetensors'
    write(shared_network().eval(), path)
    return path


def insert(model, *nodes):
    """`nodes` first, so that what they use is the image and weights alone."""
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])


def first(model, kind):
    return next(node for node in model.graph.node if node.op_type == kind)


def node(kind, *inputs, outputs=('new',), **attributes):
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def constant():
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), 'secret')
    tensor.ClearField('raw_data')
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value='/etc/passwd')
    return tensor


def control_flow(model):
    body = helper.make_graph(
        [], 'body', [], [helper.make_tensor_value_info('image', TensorProto.FLOAT, None)]
    )
    insert(model, node('If', 'image', then_branch=body, else_branch=body))


def cycle(model):
    relu = first(model, 'Relu')
    relu.input[0] = next(
        each for each in model.graph.node if each.input and each.input[0] == relu.output[0]
    ).output[0]


def sparse(model):
    values = helper.make_tensor('values', TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor('indices', TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def input_of(model, name):
    return next(each for each in model.graph.input if each.name == name)


def reshape_input(model, name, shape):
    value = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    input_of(model, name).CopyFrom(value)


def enlarge(model, *sides):
    """The image tiled to a tensor of that many elements."""
    repeats = numpy_helper.from_array(np.array(sides, np.int64))
    insert(model, node('Constant', outputs=('sides',), value=repeats), node('Tile', 'image', 'sides'))


BIAS = 'exits.0.classify.bias'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda model: b'', 'operator set'),
        (lambda model: b'\xff' * 100, 'not one of ONNX'),
        (lambda model: b'\x08\x08' * 3_000_000, 'takes 6000000 bytes, at most 4194304'),
        (
            lambda model: insert(model, node('Sin', 'image', domain='com.evil')),
            'com.evil.Sin, no operator of ONNX',
        ),
        (lambda model: insert(model, node('RunShell', 'image')), 'RunShell, no operator of ONNX'),
        (lambda model: model.opset_import.add(domain='com.evil', version=1), 'of the operator set'),
        (lambda model: model.opset_import[0].__setattr__('version', 99), 'of the operator set ai.onnx 99'),
        (lambda model: model.opset_import[0].__setattr__('version', 9), 'of the operator set ai.onnx 9'),
        (lambda model: model.functions.add(name='Sin', domain=''), 'has functions'),
        (sparse, 'sparse tensors'),
        (control_flow, 'a graph inside If'),
        (lambda model: insert(model, node('RandomUniform', shape=[1])), 'uses RandomUniform'),
        (lambda model: insert(model, node('Constant', value_string=b'x')), 'size of new|tensor of'),
        (lambda model: insert(model, node('Constant', value=constant())), 'secret in another file'),
        (lambda model: model.graph.initializer.append(constant()), 'secret in another file'),
        (cycle, 'not a valid one of ONNX'),
        (lambda model: insert(model, node('Relu', 'nowhere')), 'not a valid one of ONNX'),
        (lambda model: insert(model, node('Relu', 'image', outputs=(BIAS,))), 'not a valid one of ONNX'),
        (lambda model: insert(model, node('Relu', 'image', 'image')), 'not a valid one of ONNX'),
        (lambda model: insert(model, node('Relu', 'image', slope=1.0)), 'not a valid one of ONNX'),
        (
            lambda model: insert(model, *(node('Relu', 'image', outputs=(f'n{i}',)) for i in range(50_001))),
            'nodes, at most 50000',
        ),
        (lambda model: enlarge(model, 1, 1 << 20, 1, 1 << 10), 'new has .* elements'),
        (lambda model: enlarge(model, 1, 1 << 40, 1 << 40, 1), 'not known beforehand|elements|not a valid'),
        (lambda model: insert(model, node('NonZero', 'image')), r'the size of new \(NonZero\) is not known'),
        (lambda model: model.graph.output.pop(), 'its graph gives'),
        (lambda model: model.graph.output[0].__setattr__('name', 'other'), 'its graph gives'),
        (lambda model: model.graph.input[0].__setattr__('name', 'other'), 'its graph takes'),
        (lambda model: reshape_input(model, 'image', [1, 3, 64, 64]), 'does not take images of'),
        (lambda model: reshape_input(model, 'image', ['N', 3, 32, 32]), 'does not take images of'),
        (lambda model: reshape_input(model, BIAS, [5]), r'classify.bias is float32 \[4\], its graph takes'),
        (lambda model: input_of(model, BIAS).__setattr__('name', 'gone'), 'needs gone, which is missing'),
        (lambda model: model.graph.input.append(input_of(model, BIAS)), 'each weight once'),
        (lambda model: model.graph.input.remove(input_of(model, BIAS)), 'not a valid one of ONNX'),
        (
            lambda model: model.graph.output[1].type.tensor_type.shape.dim[1].__setattr__('dim_value', 5),
            'logits_0',
        ),
    ],
)
def test_it_is_refused_with_the_reason(written, tmp_path, change, message):
    path = with_graph(written, tmp_path / 'changed', change)
    with pytest.raises(CheckpointError, match=message) as refused:
        read(path)
    assert len(str(refused.value)) < 600


def test_a_graph_that_skips_a_boundary_is_refused(written, tmp_path):
    """Its whole could be computed, its stages could not."""

    def skip(model):
        last = next(each for each in model.graph.node if each.output[0] == 'features_0')
        user = next(each for each in reversed(model.graph.node) if 'features_0' in each.input)
        user.input[list(user.input).index('features_0')] = last.input[0]

    with pytest.raises(CheckpointError, match='is needed beside'):
        read(with_graph(written, tmp_path / 'changed', skip))


def test_a_tensor_that_nothing_uses_is_refused(written, tmp_path):
    path = rewrite(written, tmp_path / 'more', lambda d, m, t: t.update(extra=torch.zeros(1)))
    with pytest.raises(CheckpointError, match='nothing uses its tensor extra'):
        read(path)


def test_a_weight_that_the_graph_takes_and_does_not_use_is_refused(written, tmp_path):
    def idle(model):
        gemm = first(model, 'Gemm')
        del gemm.input[2]

    with pytest.raises(CheckpointError, match=r'takes exits.0.classify.bias and does not use it'):
        read(with_graph(written, tmp_path / 'idle', idle))


def test_a_graph_of_nothing_but_empty_nodes_takes_bounded_memory(written, tmp_path):
    """Two bytes of the file are a node in memory, the largest amplification there is."""
    body = b'\x0a\x00' * 2_000_000
    graph = b'\x3a' + bytes([len(body) & 127 | 128, len(body) >> 7 & 127 | 128, len(body) >> 14 & 127 | 128])
    graph += bytes([len(body) >> 21]) + body
    path = with_graph(written, tmp_path / 'empty', lambda model: graph)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match='operator set'):
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # KiB


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_graph_is_refused_or_whole(written, tmp_path, data):
    """The checksums fit, so that the graph itself is looked at."""

    def mutate(model):
        content = bytearray(model.SerializeToString())
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(content) - 1))
            content[at] = data.draw(st.integers(0, 255))
        return bytes(content)

    path = with_graph(written, tmp_path / 'mutated', mutate)
    try:
        graph = read(path).graph
    except CheckpointError:
        return
    model = graph.part(0, ['logits_2'])
    onnx.checker.check_model(model)
    assert graph.shape('logits_2') == (1, 4)
