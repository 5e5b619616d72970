"""The networks that are measured: torchvision's with fixed random weights, and the shipped one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch

from impatient_ros.cache import cache_file
from impatient_ros.checkpoint import load
from impatient_ros.network import ImpatientNetwork
from impatient_ros.resources import resource_path
from impatient_ros.runtime.onnx.export import export_whole

MODELS = ('resnet18', 'resnet50', 'mobilenet_v3_large', 'efficientnet_b0', 'default')
DEFAULT = 'clothing10.safetensors'
EXITS, CLASSES, SIZE = 5, 10, 224


def network(name: str) -> ImpatientNetwork:
    """The same weights in every process; `default` is the model that is shipped (128 px)."""
    if name == 'default':
        return load(resource_path('models', DEFAULT)).network
    torch.manual_seed(0)
    return ImpatientNetwork.from_torchvision(name, exits=EXITS, classes=CLASSES, image_size=SIZE).eval()


def picture(shape: Sequence[int]) -> np.ndarray:
    """The preprocessed image that everything is measured on, float32 [1, *shape]."""
    return np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)


def digest(name: str) -> str:
    """Identifies these weights in the cache."""
    return f'benchmark {name} {SIZE} {EXITS} {CLASSES} seed 0 torch {torch.__version__}'


def exported(name: str, of: ImpatientNetwork) -> Path:
    """The whole network as ONNX, exported once (in the user's cache)."""
    key = {'benchmark': digest(name), 'file': _stamp(name)}
    cached = cache_file('benchmark', key, suffix='.onnx', keep=len(MODELS))
    if cached.path is None:
        raise SystemExit('the peers read the network from the cache: set HOME')
    if cached.read(onnx.load_from_string) is None:
        cached.write(export_whole(of).SerializeToString())
    return cached.path


def _stamp(name: str) -> int:
    return resource_path('models', DEFAULT).stat().st_mtime_ns if name == 'default' else 0
