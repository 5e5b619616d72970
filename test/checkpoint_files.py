"""Small checkpoints, and files that were changed behind the program's back."""

import hashlib
import json

import numpy as np
import onnx
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from impatient_ros.checkpoint import Preprocessing, save
from impatient_ros.network import ImpatientNetwork

LABELS = ('shirt', 'hat', 'jupe à plis', 'ズボン')
SIZE = 32


class Shared(nn.Module):
    """Uses one block and one parameter in every stage."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.classifier = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        for _ in range(3):
            x = self.block(x) * self.scale
        return self.classifier(x.mean((2, 3)))


def shared_network():
    return ImpatientNetwork.from_module(
        Shared(), torch.zeros(1, 3, SIZE, SIZE), exits=3, cuts=['mul', 'mul_1']
    )


def randomised(network, size):
    """Batch norm's statistics of random images, and a classifier whose scores are far from constant."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.2)
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(4, 3, size, size))
    return network.eval()


def write(network, path, **values):
    preprocessing = Preprocessing(SIZE, 36)
    save(network, path, **({'labels': LABELS, 'preprocessing': preprocessing} | values))


def tensor_checksum(tensors):
    """As the first version of the format wrote it, with torch."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f'{name} {tensor.dtype} {list(tensor.shape)}\n'.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def rewrite(source, target, change, *, checksums=True):
    """Write `source` again with its description, metadata and tensors as `change` leaves them.

    With `checksums` these are made to fit, so that what is refused is what the file says.
    """
    with safe_open(source, 'pt') as file:
        metadata = file.metadata()
    description, tensors = json.loads(metadata['description']), load_file(source)
    change(description, metadata, tensors)
    metadata['description'] = text = json.dumps(description)
    if checksums:
        metadata['description_sha256'] = hashlib.sha256(text.encode()).hexdigest()
        metadata['tensors_sha256'] = tensor_checksum(tensors)
    save_file(tensors, target, metadata)
    return target


def with_graph(source, target, change):
    """Write `source` again with its graph as `change` leaves the model, or with the bytes that it returns."""

    def change_graph(description, metadata, tensors):
        model = onnx.load_model_from_string(tensors['graph'].numpy().tobytes())
        data = change(model)
        data = data if isinstance(data, bytes) else model.SerializeToString()
        tensors['graph'] = torch.from_numpy(np.frombuffer(data, np.uint8).copy())

    return rewrite(source, target, change_graph)


def without_graph(source, target):
    """The same as a file of format version 1."""

    def change(description, metadata, tensors):
        metadata['version'] = '1'
        del tensors['graph'], description['network_only']

    return rewrite(source, target, change)
