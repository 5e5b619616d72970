"""The latency profile of a checkpoint on a runtime: cached, or measured."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np

from impatient_ros.cache import cache_file
from impatient_ros.checkpoint import CheckpointFile
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.profiling import PAUSE, measure
from impatient_ros.runtime import Runtime

__all__ = ['Progress', 'cached_or_measured', 'run_all_exits']

KEPT = 64  # profiles in the cache: a few kilobytes each, one per model, runtime and number of threads
Progress = Callable[[float, str], None]


def cached_or_measured(
    checkpoint: CheckpointFile, runtime: Runtime, progress: Progress | None = None, *, refresh: bool = False
) -> LatencyProfile:
    """The latency profile of this checkpoint, runtime and machine from the cache, or measured and kept there;
    the runtime is warm afterwards.

    Args:
        progress: called with the share done (0..1) and a text.
        refresh: measure in any case.
    """
    tensor = np.zeros((1, *checkpoint.input_shape), np.float32)
    key = {**runtime.describe(), 'model': checkpoint.digest, 'pause': PAUSE}
    file = cache_file('latency', key, suffix='.json', keep=KEPT)

    def decode(content: bytes) -> LatencyProfile:
        profile = LatencyProfile.from_dict(json.loads(content)['profile'])
        if profile.exits != runtime.exits:
            raise ValueError(f'{profile.exits} exits instead of {runtime.exits}')
        return profile

    cached = None if refresh else file.read(decode)
    if cached is None:
        profile = measure(
            lambda: runtime.start(tensor),
            runtime.exits,
            time.perf_counter,
            progress=progress,
            rest=lambda: time.sleep(PAUSE),
        )
        # The key is for people who look into the file.
        file.write(json.dumps({'key': key, 'profile': profile.to_dict()}).encode())
        return profile
    # A cached profile spares the measurement, not the warm-up: the first runs of a process are its slowest.
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
