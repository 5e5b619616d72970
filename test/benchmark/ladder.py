"""The default model, resolution by resolution: a part of speed.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from benchmark.models import picture
from benchmark.report import Record, record
from benchmark.turns import Peer, ratio, take_turns, timed

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.planning.options import OptionTable
from impatient_ros.runtime import Runtime


def ladder(
    runtime: Runtime,
    peer: Peer,
    *,
    precision: str = 'f32',
    passes: Sequence[int] = (),
    rounds: int,
    time_limit: float,
) -> Iterator[Record]:
    """Every path of the default model, which has one exit, ours and the plain network's.

    Args:
        passes: the resolutions, by their index, that interruptible mode executes in turn; (): not measured.
    """
    name, device, kind, sides = 'default', runtime.device, runtime.name, runtime.sides
    images = [picture((3, side, side)) for side in sides]

    def in_turn() -> None:
        for r in passes:
            contract_run(runtime, images[r], 0)

    peer.wait()
    cases: dict[str, Callable[[int], Sequence[Any]]] = {}
    for r, image in enumerate(images):
        cases[f'ours {r}'] = lambda count, image=image: timed(lambda: contract_run(runtime, image, 0), count)
        cases[f'plain {r}'] = lambda count, r=r: peer.turn(str(r), count)
    if passes:
        cases['passes'] = lambda count: timed(in_turn, count)
    found = take_turns(cases, rounds=rounds, time_limit=time_limit)
    known = {'precision': precision}
    for r, px in enumerate(sides):
        ours, plain = found[f'ours {r}'], found[f'plain {r}']
        yield record(name, device, kind, 'path_plain', plain.ravel(), resolution=px, **known)
        factor = ratio(ours, plain)
        yield record(name, device, kind, 'path', ours.ravel(), ratio=factor, resolution=px, **known)
    if passes:
        took, plain = found['passes'], found[f'plain {len(sides) - 1}']
        resolutions, factor = [sides[r] for r in passes], ratio(took, plain)
        yield record(
            name, device, kind, 'passes', took.ravel(), ratio=factor, resolutions=resolutions, **known
        )


def passes_of(classifier: AnytimeClassifier) -> tuple[int, ...]:
    """The resolutions, by their index, that interruptible mode executes in turn."""
    paths = sorted(classifier.paths, key=lambda each: each.resolution)
    options = OptionTable('interruptible', classifier.profiles, [path.accuracy for path in paths])
    return tuple(options.sequence)  # with one exit, a path is its resolution


def contract_run(runtime: Runtime, image: np.ndarray, exit_index: int) -> None:
    """From the image to the scores of one exit."""
    run = runtime.start(image)
    while run.position <= exit_index:
        run.stage(exit_index)
    run.exit()
