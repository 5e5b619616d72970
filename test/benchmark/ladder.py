"""The default model, resolution by resolution: a part of speed.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from benchmark.models import picture
from benchmark.report import Record, record
from benchmark.turns import Peer, ratio, take_turns, timed

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.planning.options import OptionTable
from impatient_ros.runtime import Runtime


def ladder(classifier: AnytimeClassifier, *, rounds: int, time_limit: float) -> Iterator[Record]:
    """Every path of the default model, ours and the plain network's, and the passes of interruptible mode."""
    runtime, paths = classifier.runtime, sorted(classifier.paths, key=lambda each: each.resolution)
    images = [picture((3, side, side)) for side in classifier.resolutions]
    options = OptionTable('interruptible', classifier.profiles, [path.accuracy for path in paths])

    def passes() -> None:
        for r in options.sequence:  # with one exit, a path is its resolution
            contract_run(runtime, images[r], 0)

    name, device, kind = 'default', runtime.device, runtime.name
    with closing(Peer('openvino', name, device, str(runtime.describe()['threads']))) as peer:
        cases: dict[str, Callable[[int], Sequence[Any]]] = {}
        for r, image in enumerate(images):
            cases[f'ours {r}'] = lambda count, image=image: timed(
                lambda: contract_run(runtime, image, 0), count
            )
            cases[f'plain {r}'] = lambda count, r=r: peer.turn(str(r), count)
        cases['passes'] = lambda count: timed(passes, count)
        found = take_turns(cases, rounds=rounds, time_limit=time_limit)
    for r, path in enumerate(paths):
        ours, plain, px = found[f'ours {r}'], found[f'plain {r}'], path.resolution
        yield record(name, device, kind, 'path_plain', plain.ravel(), resolution=px)
        yield record(name, device, kind, 'path', ours.ravel(), ratio=ratio(ours, plain), resolution=px)
    sides = [classifier.resolutions[r] for r in options.sequence]
    took, plain = found['passes'], found[f'plain {len(paths) - 1}']
    yield record(name, device, kind, 'passes', took.ravel(), ratio=ratio(took, plain), resolutions=sides)


def contract_run(runtime: Runtime, image: np.ndarray, exit_index: int) -> None:
    """From the image to the scores of one exit."""
    run = runtime.start(image)
    while run.position <= exit_index:
        run.stage(exit_index)
    run.exit()
