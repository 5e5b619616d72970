"""A Python with torch alone, as on a machine that only measures or trains: networks load, graphs do not."""

import logging
import sys

import pytest
import torch
from checkpoint_files import LABELS, SIZE

from impatient_ros.checkpoint import Preprocessing, load, read, save
from impatient_ros.network import ImpatientNetwork
from impatient_ros.resources import resource_path


@pytest.fixture
def without_onnx(monkeypatch):
    monkeypatch.delitem(sys.modules, 'impatient_ros.checkpoint.resolution_graphs', raising=False)
    monkeypatch.setitem(sys.modules, 'onnx', None)


def test_a_file_with_graphs_loads_as_a_network_alone(without_onnx, caplog):
    path = resource_path('models', 'clothing10.safetensors')
    checkpoint = load(path)
    assert checkpoint.graph is None
    assert 'runs in torch only: the package onnx, which reads its graph, is not installed' in caplog.text
    scores = checkpoint.network(torch.zeros(1, *checkpoint.input_shape))
    assert [each.shape for each in scores] == [(1, len(checkpoint.labels))] * checkpoint.exits


def test_a_network_is_saved_without_a_graph_which_is_said(without_onnx, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    network = ImpatientNetwork.from_torchvision('shufflenet_v2_x0_5', exits=2, classes=4, image_size=SIZE)
    save(network, tmp_path / 'a.safetensors', labels=LABELS, preprocessing=Preprocessing(SIZE))
    assert 'is saved without a graph and will run in torch only' in caplog.text
    assert read(tmp_path / 'a.safetensors').graph is None
