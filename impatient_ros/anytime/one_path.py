"""The answer of exactly one path, without a deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from impatient_ros.answer import Answer
from impatient_ros.anytime.request import Image

if TYPE_CHECKING:
    from impatient_ros.anytime.paths import Paths
    from impatient_ros.checkpoint import Path
    from impatient_ros.runtime import Runtime

__all__ = ['answer_along']


def answer_along(
    paths: Paths,
    runtime: Runtime,
    path: Path,
    image: Image,
    unknown_below: float,
    clock: Callable[[], float],
) -> Answer:
    """The answer of exactly one path, whatever it takes. Raises ValueError where it is not one of `paths`."""
    number = paths.numbered(path)
    resolution, exit_index = paths.split(number)
    start = clock()
    picture = image() if callable(image) else image
    run = runtime.begin(picture, paths.preprocessing[resolution])
    while run.position <= exit_index:
        run.stage(exit_index)
    logits = run.exit()
    return Answer(
        **paths.classification(number, logits, unknown_below),
        planned_exit_index=path.exit_index,
        planned_resolution=path.resolution,
        elapsed=clock() - start,
        slack=None,
        met=True,
        stages_executed=run.position,
    )
