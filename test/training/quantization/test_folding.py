"""Batch norm folded inside a graph: the same scores, and layers that are known by the file's weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import SIZE, randomised, shared_network, write
from onnx.reference import ReferenceEvaluator

from impatient_ros.checkpoint import read
from impatient_ros.checkpoint.graph import Graph
from impatient_ros.network import ImpatientNetwork
from training.quantization.folding import FOLD, folded, layers, scoring_layers, with_values


def scores(model, image):
    return dict(
        zip(
            [each.name for each in model.graph.output],
            ReferenceEvaluator(model).run(None, {'image': image}),
            strict=True,
        )
    )


@pytest.fixture(scope='module', params=['shufflenet_v2_x0_5', 'resnet18', 'shared'])
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    path: Path = tmp_path_factory.mktemp('folding') / 'model.safetensors'
    if request.param == 'shared':  # convolutions with biases, one read three times
        network = shared_network()
    else:
        network = ImpatientNetwork.from_torchvision(request.param, exits=2, classes=4, image_size=SIZE)
    write(randomised(network, SIZE), path)
    found = read(path).graph
    assert found is not None
    return found


def test_a_folded_graph_gives_the_same_scores_with_its_weights_as_inputs_or_values(graph: Graph) -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 3, SIZE, SIZE).numpy()
    outputs = [each.name for each in graph.model.graph.output]
    wanted = scores(graph.part(0, outputs), image)
    model = folded(graph.model)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count('BatchNormalization') < sum(
        node.op_type == 'BatchNormalization' for node in graph.model.graph.node
    )
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)
    values = with_values(model, graph.weights)
    assert not [node for node in values.graph.node if node.name.startswith(FOLD)]
    assert len(values.graph.input) == 1
    for found in (scores(Graph(model, graph.weights).part(0, outputs), image), scores(values, image)):
        for name, each in wanted.items():
            np.testing.assert_allclose(found[name], each, rtol=1e-4, atol=1e-4 * np.abs(each).max())


def test_layers_are_known_by_the_weights_of_the_file(graph: Graph) -> None:
    model = folded(graph.model)
    found = layers(model)
    names = {node.name: node.op_type for node in model.graph.node}
    assert found.keys() <= graph.weights.keys()
    assert {names[node] for nodes in found.values() for node in nodes} <= {'Conv', 'Gemm', 'MatMul'}
    assert all(graph.weights[name].ndim > 1 for name in found)
    last = scoring_layers(model)
    assert len(last) == graph.exits
    assert all(graph.weights[name].shape[0] == 4 for name in last)


def test_a_final_layer_that_exits_share_is_one_layer_that_every_exit_computes(tmp_path: Path) -> None:
    network = ImpatientNetwork.from_torchvision(
        'shufflenet_v2_x0_5', exits=3, classes=4, image_size=SIZE, head_kind='shared', head_share=0.3
    )
    write(randomised(network, SIZE), tmp_path / 'model.safetensors')
    graph = read(tmp_path / 'model.safetensors').graph
    assert graph is not None
    model = folded(graph.model)
    [shared] = set(scoring_layers(model))
    nodes = layers(model)[shared]
    assert len(nodes) == len(set(nodes)) == graph.exits
