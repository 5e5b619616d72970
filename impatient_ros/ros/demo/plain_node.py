"""The perception node with one path for every frame: the plain network that the demo compares with.

    python -m impatient_ros.ros.demo.plain_node RESOLUTION EXIT_INDEX --ros-args ...

It shares everything with the perception node but the plan: whatever the budget, the frame goes that path, and
its answer goes out when it is there.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from impatient_ros.answer import Answer
from impatient_ros.anytime import AnytimeClassifier, FrameObserver, FrameRequest
from impatient_ros.perception.faults import Faults
from impatient_ros.perception.model_state import LoadedModel
from impatient_ros.ros.perception_node import PerceptionNode
from impatient_ros.ros.process import leave, serve

if TYPE_CHECKING:
    from impatient_ros.checkpoint import Path

__all__ = ['PlainClassifier', 'PlainNode']


class PlainClassifier:
    """A classifier, as the node uses it, that answers along one path."""

    def __init__(self, classifier: AnytimeClassifier, path: Path) -> None:
        self._classifier, self._path = classifier, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def run(self, request: FrameRequest, observer: FrameObserver | None = None) -> Answer:
        if observer is not None:
            observer.planned(self._path, None, 1.0)
        answer = self._classifier.classify(request.image, path=self._path, settings=request.settings)
        if observer is not None:
            observer.answered(answer)
            observer.completed(answer)
        return answer


class PlainNode(PerceptionNode):
    """The perception node, its model narrowed to one path."""

    def __init__(self, resolution: int, exit_index: int, faults: Faults, **options: Any) -> None:
        self._wanted = (resolution, exit_index)
        super().__init__(faults, **options)

    def _load(self) -> LoadedModel:
        loaded = super()._load()
        for path in loaded.classifier.paths:
            if (path.resolution, path.exit_index) == self._wanted:
                plain = PlainClassifier(loaded.classifier, path)
                return replace(loaded, classifier=cast(AnytimeClassifier, plain))  # it acts as one
        raise LookupError(f'the model has no path {self._wanted}')


def main(args: list[str]) -> int:
    resolution, exit_index, *rest = args
    return serve(lambda faults: PlainNode(int(resolution), int(exit_index), faults), 'perception', rest)


if __name__ == '__main__':
    leave(main(sys.argv[1:]))
