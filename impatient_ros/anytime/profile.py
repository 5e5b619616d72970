"""The latency profile of a checkpoint on a runtime: cached, or measured."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from impatient_ros.cache import cache_file
from impatient_ros.checkpoint import CheckpointFile, Resolution
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.profiling import PAUSE, measure
from impatient_ros.runtime import Runtime
from impatient_ros.runtime.machine import permitted_processors

__all__ = ['Progress', 'cached_or_measured', 'run_all_exits', 'used']

KEPT = 64  # profiles in the cache: a few kilobytes each, one per model, runtime and number of threads
Progress = Callable[[float, str], None]


def used(checkpoint: CheckpointFile, runtime: Runtime) -> tuple[Resolution, ...]:
    """The resolutions of a checkpoint that the runtime executes, ascending."""
    if len(checkpoint.resolutions) == 1:  # of a network that is not square, both name another side of it
        return checkpoint.resolutions
    return tuple(each for each in checkpoint.resolutions if each.side in runtime.sides)


def cached_or_measured(
    checkpoint: CheckpointFile, runtime: Runtime, progress: Progress | None = None, *, refresh: bool = False
) -> tuple[LatencyProfile, ...]:
    """The latency profiles of a checkpoint on a runtime of this machine, one per resolution that is used,
    ascending: from the cache, or measured and kept there. The runtime is warm afterwards.

    Args:
        progress: called with the share done (0..1) and a text.
        refresh: measure in any case.
    """
    resolutions = used(checkpoint, runtime)
    tensors = [np.zeros((1, 3, *each.preprocessing.size), np.float32) for each in resolutions]
    sides = [each.side for each in resolutions]
    key = {**runtime.describe(), 'model': checkpoint.digest, 'resolutions': sides, 'pause': PAUSE}
    key['processors'] = permitted_processors()  # not all of a machine's are equally fast
    file = cache_file('latency', key, suffix='.json', keep=KEPT)

    def decode(content: bytes) -> tuple[LatencyProfile, ...]:
        profiles = tuple(map(LatencyProfile.from_dict, json.loads(content)['profiles']))
        exits = [profile.exits for profile in profiles]
        if exits != [runtime.exits] * len(sides):
            raise ValueError(f'profiles of {exits} exits for {len(sides)} resolutions of {runtime.exits}')
        return profiles

    cached = None if refresh else file.read(decode)
    if cached is None:
        profiles = tuple(
            measure(
                [partial(runtime.start, tensor) for tensor in tensors],
                runtime.exits,
                time.perf_counter,
                progress=progress,
                rest=lambda: time.sleep(PAUSE),
            )
        )
        # The key is for people who look into the file.
        content = {'key': key, 'profiles': [profile.to_dict() for profile in profiles]}
        file.write(json.dumps(content).encode())
        return profiles
    # A cached profile spares the measurement, not the warm-up: the first runs of a process are its slowest.
    for tensor in tensors:
        for _ in range(3):
            run_all_exits(runtime, tensor)
    if progress is not None:
        progress(1.0, 'latency profile taken from the cache')
    return cached


def run_all_exits(runtime: Runtime, tensor: np.ndarray) -> None:
    """Execute every stage and every head on a preprocessed image, float32 [1, 3, H, W]."""
    run = runtime.start(tensor)
    for _ in range(runtime.exits):
        run.stage()
        run.exit()
