"""The node's model in the demo's own process: what its paths cost here, and what one of them says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.demo.known_classes import KnownClasses
from impatient_ros.demo.ladder import PathCost
from impatient_ros.images.compressed import decode_compressed
from impatient_ros.images.raw import to_rgb
from impatient_ros.replay import Source
from impatient_ros.replay.frame import RawFrame
from impatient_ros.resources import resource_path
from impatient_ros.ros.perception_node import DEFAULT_MODEL

__all__ = ['MODEL_PARAMETERS', 'Model', 'pictures_of', 'thumbnails']

# What the node's classifier is made from: the same ones give the same costs.
MODEL_PARAMETERS = ('model', 'device', 'runtime', 'precision', 'cpu_threads', 'memory_limit', 'labels', 'fit')
PICTURES = 200  # of a source, at most: of more the page shows none, and nobody waits for their answers
THUMBNAIL = 160  # px
PRECISIONS = {'f32': 'single precision', 'bf16': 'bfloat16', 'f16': 'half precision', 'int8': 'int8'}

Pictures = Mapping[str, np.ndarray]  # RGB, uint8 [H, W, 3], by name


@dataclass(frozen=True)
class Model:
    """The paths of the model, cheapest first, and how it runs."""

    paths: tuple[PathCost, ...]
    machine: str  # for people: what executes it
    classifier: AnytimeClassifier

    @classmethod
    def load(cls, parameters: Mapping[str, Any]) -> Model:
        """`parameters`: the node's, by name; what the node does not know is left out. The latency profile
        comes from the cache, where the node has put it. Raises as `AnytimeClassifier.from_checkpoint` does.
        """
        known = {name: value for name, value in parameters.items() if value not in (None, '', [])}
        path = known.pop('model', None) or resource_path('models', DEFAULT_MODEL)
        classifier = AnytimeClassifier.from_checkpoint(path, **known)
        costs = classifier.costs()
        paths = tuple(
            PathCost(each.resolution, each.exit_index, costs[each], each.accuracy)
            for each in classifier.paths
        )
        return cls(paths, f'{Path(path).stem}, {_machine(classifier.runtime.describe())}', classifier)

    def known_classes(self) -> KnownClasses:
        return KnownClasses(self.classifier.labels)

    def answers(self, path: PathCost, pictures: Pictures) -> dict[str, str]:
        """The label that one path gives each picture, however long it takes."""
        (chosen,) = (
            each
            for each in self.classifier.paths
            if (each.resolution, each.exit_index) == (path.resolution, path.exit_index)
        )
        labels = {name: self.classifier.classify(rgb, path=chosen).label for name, rgb in pictures.items()}
        return {name: label for name, label in labels.items() if label is not None}


def pictures_of(source: Source) -> dict[str, np.ndarray]:
    """The pictures of a folder, as the node gets them; of a longer or another source none."""
    if source.live or not source.length or source.length > PICTURES:
        return {}
    images = ((frame.name, frame.image) for frame in source.frames() if frame.name)
    return {
        name: to_rgb(image) if isinstance(image, RawFrame) else decode_compressed(image)
        for name, image in images
    }


def thumbnails(pictures: Pictures) -> dict[str, bytes]:
    """Their centres as small JPEG files."""
    found = {}
    for name, rgb in pictures.items():
        side = min(rgb.shape[:2])
        y, x = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
        square = cv2.cvtColor(rgb[y : y + side, x : x + side], cv2.COLOR_RGB2BGR)
        small = cv2.resize(square, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
        found[name] = cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return found


def _machine(description: Mapping[str, Any]) -> str:
    threads = description.get('threads')
    words = [
        f'{threads} thread{"" if threads == 1 else "s"}' if threads else '',
        PRECISIONS.get(description.get('precision', 'f32'), ''),
        f'{description["runtime"]} on {description["processor"]}',
    ]
    return ', '.join(filter(None, words))
