"""The latency profile of a checkpoint on a runtime: cached, or measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from impatient_ros.checkpoint import Checkpoint
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.profile_cache import cached_profile
from impatient_ros.planning.profiling import PAUSE, measure
from impatient_ros.runtime import Runtime

__all__ = ['Progress', 'cached_or_measured', 'run_all_exits']

Progress = Callable[[float, str], None]


def cached_or_measured(
    checkpoint: Checkpoint, runtime: Runtime, progress: Progress | None = None, *, refresh: bool = False
) -> LatencyProfile:
    """The latency profile of this checkpoint, runtime and machine from the cache, or measured and kept there;
    the runtime is warm afterwards.

    Args:
        progress: called with the share done (0..1) and a text.
        refresh: measure in any case.
    """
    size = checkpoint.network.input_shape
    tensor = np.zeros((1, *size), np.float32)

    profile, cached = cached_profile(
        {**runtime.describe(), 'model': checkpoint.digest, 'pause': PAUSE},
        lambda: measure(
            lambda: runtime.start(tensor),
            runtime.exits,
            time.perf_counter,
            progress=progress,
            rest=lambda: time.sleep(PAUSE),
        ),
        refresh=refresh,
    )
    if cached:
        # A cached profile spares the measurement, not the warm-up: the first runs of a process are its
        # slowest.
        for _ in range(3):
            run_all_exits(runtime, tensor)
        if progress is not None:
            progress(1.0, 'latency profile taken from the cache')
    return profile


def run_all_exits(runtime: Runtime, tensor: np.ndarray) -> None:
    """Execute every stage and every head on a preprocessed image, float32 [1, 3, H, W]."""
    run = runtime.start(tensor)
    for _ in range(runtime.exits):
        run.stage()
        run.exit()
