"""The networks that are measured: torchvision's with fixed random weights, and those that ship."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from impatient_ros.checkpoint import load, read, save
from impatient_ros.checkpoint.graph import Graph
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network import ImpatientNetwork
from impatient_ros.resources import resource_path
from impatient_ros.runtime import Source

MODELS = ('resnet18', 'resnet50', 'mobilenet_v3_large', 'efficientnet_b0', 'clothing10')
SHIPPED = {'clothing10': 'clothing10.safetensors', 'default': 'imagenet.safetensors'}
EXITS, CLASSES, SIZE = 5, 10, 224


def network(name: str) -> ImpatientNetwork:
    """The same weights in every process; at its largest resolution."""
    if name in SHIPPED:
        return load(resource_path('models', SHIPPED[name])).network
    torch.manual_seed(0)
    return ImpatientNetwork.from_torchvision(name, exits=EXITS, classes=CLASSES, image_size=SIZE).eval()


def picture(shape: Sequence[int]) -> np.ndarray:
    """The preprocessed image that everything is measured on, float32 [1, *shape]."""
    return np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)


def source(name: str) -> Source:
    """The network for `select_runtime`, by way of a checkpoint as the node reads it."""
    if name in SHIPPED:
        file = read(resource_path('models', SHIPPED[name]))
    else:
        with tempfile.TemporaryDirectory(prefix='impatient_ros-') as folder:
            file = read(written(name, Path(folder)))
    return Source(tuple(each.graph for each in file.resolutions), lambda: network(name), file.digest)


def written(name: str, folder: Path) -> Path:
    """One of torchvision's as a checkpoint below `folder`; its accuracies are made up."""
    path = folder / 'network.safetensors'
    labels = [str(index) for index in range(CLASSES)]
    accuracies = [(t + 1) / (EXITS + 1) for t in range(EXITS)]
    preprocessing = Preprocessing.for_image_size(SIZE)
    save(network(name), path, labels=labels, preprocessing=preprocessing, accuracies=accuracies)
    return path


def with_int8(of: Source) -> Source:
    """The same with its layers in int8, but for those that give the scores. It is calibrated on noise: only
    its speed is of interest. Raises RuntimeUnavailableError without the package nncf.
    """
    from training.quantization.folding import folded, scoring_layers
    from training.quantization.quantized_graph import quantized

    quantised = []
    for graph in of.graphs:
        own = quantized(graph, [picture(graph.input_shape)], scoring_layers(folded(graph.model)))
        quantised.append(Graph(own.stored, graph.weights))
    return dataclasses.replace(of, quantised=tuple(quantised))


def torch_source(name: str) -> Source:
    """The same for torch's runtimes alone: nothing is written as ONNX, which takes long."""
    return Source(network=lambda: network(name), digest=name, resolutions=sides(name))


def sides(name: str) -> tuple[int, ...]:
    """The resolutions, px, ascending."""
    if name not in SHIPPED:
        return (SIZE,)
    return tuple(each.side for each in read(resource_path('models', SHIPPED[name])).resolutions)
