"""The networks that the benchmark runs, as the checkpoints that a node would load, and an image for each."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.checkpoint import load, save
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network import ImpatientNetwork

__all__ = ['MODELS', 'Subject', 'prepare']

MODELS = ('default', 'clothing10', 'resnet18')
ROOT = Path(__file__).resolve().parents[3]

# For deadlines alone: resnet18 stands for a network of ordinary size. Nobody trains it here: times do not
# depend on the weights, and the planner takes the accuracy of each exit from this table, which is invented,
# typical of five exits on ten classes. What is said of its accuracy says how the time was used, no more.
ACCURACIES = {'resnet18': (0.62, 0.74, 0.83, 0.88, 0.91)}


@dataclass(frozen=True)
class Subject:
    """A model's checkpoint on disk and the image, uint8 [H, W, 3], that every frame shows."""

    model: str
    path: Path
    image: np.ndarray

    def classifier(self, **options: object) -> AnytimeClassifier:
        """A classifier with a latency profile measured now or taken from the cache."""
        return AnytimeClassifier.from_checkpoint(self.path, **options)  # type: ignore[arg-type]


def prepare(model: str, folder: Path) -> Subject:
    """The subject of that name; a checkpoint that has to be made is put into `folder`."""
    if model not in MODELS:
        raise ValueError(f'model is {model!r}; write one of {", ".join(MODELS)}')
    noise = np.random.default_rng(0)
    if model == 'default':  # as it ships, with the accuracies that were measured; a camera's picture
        path = ROOT / 'models' / 'imagenet.safetensors'
        return Subject(model, path, noise.integers(0, 256, (480, 640, 3), np.uint8))
    if model == 'clothing10':
        path = ROOT / 'models' / 'clothing10.safetensors'
        height, width = load(path).network.config['input_shape'][1:]
        return Subject(model, path, noise.integers(0, 256, (height, width, 3), np.uint8))
    torch.manual_seed(0)
    network = ImpatientNetwork.from_torchvision('resnet18', exits=5, classes=10, image_size=224).eval()
    path = folder / 'resnet18.safetensors'
    preprocessing = Preprocessing(size=(224, 224))
    labels = [f'class {index}' for index in range(10)]
    save(network, path, labels=labels, preprocessing=preprocessing, accuracies=ACCURACIES[model])
    return Subject(model, path, noise.integers(0, 256, (224, 224, 3), np.uint8))
