"""Small networks, their graphs, and what they answer in torch."""

import numpy as np
import onnx
import torch
from torch import nn

from impatient_ros.checkpoint import Preprocessing, read, save
from impatient_ros.checkpoint.export import export
from impatient_ros.checkpoint.graph import Graph
from impatient_ros.network import ImpatientNetwork


def network(name='shufflenet_v2_x0_5', size=64, exits=3):
    """One that does not say the same to every image."""
    torch.manual_seed(0)
    made = ImpatientNetwork.from_torchvision(name, exits=exits, classes=7, image_size=size)
    with torch.no_grad():
        made.train()
        for _ in range(2):
            made(torch.randn(4, 3, size, size))  # batch norm's statistics
        for head in made.exits:
            last = [m for m in head.modules() if isinstance(m, nn.Linear)][-1]
            nn.init.normal_(last.weight, std=0.5)
    return made.eval()


def saved(of, folder):
    """The network's checkpoint in that folder."""
    path = folder / 'network.safetensors'
    labels = [f'class {index}' for index in range(of.classes)]
    save(of, path, labels=labels, preprocessing=Preprocessing.for_image_size(of.input_shape[1]))
    return path


def graph(of, folder):
    """The network's graph as a checkpoint carries it."""
    return read(saved(of, folder)).graph


def image(of, seed=1):
    return np.random.default_rng(seed).normal(size=(1, *of.input_shape)).astype(np.float32)


def expected(of, picture):
    """The scores of each exit in torch."""
    with torch.inference_mode():
        return [scores[0].numpy() for scores in of(torch.from_numpy(picture))]


def resolutions(largest, sides):
    """The network at several sizes, ascending, the last its own: the networks and their graphs."""
    shapes = [{**largest.config, 'input_shape': [3, side, side]} for side in sides[:-1]]
    networks = [*(ImpatientNetwork.from_config(config).eval() for config in shapes), largest]
    for each in networks:
        each.load_state_dict(largest.state_dict())
    tensors = largest.state_dict()
    weights = {name: tensor.numpy() for name, tensor in tensors.items()}
    graphs = [Graph(onnx.load_model_from_string(export(each, tensors, {})), weights) for each in networks]
    return networks, tuple(graphs)
