"""Features of a backbone that stays as it is, from the inference runtime where that is faster than torch.

A processor that multiplies bfloat16 gives them in a fifth of the time that eager torch takes. What learns,
the heads, stays torch's.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from impatient_ros.checkpoint import Preprocessing, read, save
from impatient_ros.network import ImpatientNetwork
from impatient_ros.runtime import Runtime, RuntimeUnavailableError, Source, select_runtime
from impatient_ros.runtime.openvino.capabilities import native

__all__ = ['FrozenFeatures', 'scores_from']

log = logging.getLogger(__name__)


class FrozenFeatures:
    """What the stages of a network but the last one give, [T - 1] tensors, for a batch x [N, 3, H, W].

    The first batch is computed by torch and by OpenVINO, in bfloat16 where the processor does that itself;
    the faster one goes on. The network must be on the CPU, have several exits, and its stages must not learn.
    """

    def __init__(self, network: ImpatientNetwork) -> None:
        self._network = network
        self._side: Callable[[torch.Tensor], list[torch.Tensor]] | None = None  # who computes them

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> list[torch.Tensor]:
        if self._side is None:
            self._side = self._faster(x)
        return self._side(x)

    def by_torch(self, x: torch.Tensor) -> list[torch.Tensor]:
        features = []
        for stage in self._network.stages[:-1]:
            x = stage(x)
            features.append(x)
        return features

    def _faster(self, x: torch.Tensor) -> Callable[[torch.Tensor], list[torch.Tensor]]:
        try:
            runtime = _runtime(self._network)
        except (RuntimeUnavailableError, ValueError) as error:
            log.info('backbone features come from torch (%s)', error)
            return self.by_torch

        def by_runtime(x: torch.Tensor) -> list[torch.Tensor]:
            return _features(runtime, x)

        if tuple(x.shape[1:]) != tuple(self._network.input_shape):  # learned at other sizes than it runs at
            return self.by_torch
        seconds = {}
        for way in (self.by_torch, by_runtime):
            way(x[:1])  # warms up
            began = time.perf_counter()
            way(x)
            seconds[way] = time.perf_counter() - began
        times = seconds[self.by_torch] / seconds[by_runtime]
        log.info(
            'backbone features: %s in %s is %.1f times as fast as torch',
            runtime.name,
            runtime.precision,
            times,
        )
        return by_runtime if times > 1 else self.by_torch


def scores_from(network: ImpatientNetwork, features: list[torch.Tensor]) -> list[torch.Tensor]:
    """The logits of every exit from what `FrozenFeatures` gives."""
    logits = [head(each) for head, each in zip(network.exits[:-1], features, strict=True)]
    with torch.no_grad():
        last = network.stages[-1](features[-1])
    return [*logits, network.exits[-1](last)]


def _runtime(network: ImpatientNetwork) -> Runtime:
    """Raises RuntimeUnavailableError, ValueError where it cannot be made."""
    height, width = network.input_shape[1:]
    with tempfile.TemporaryDirectory(prefix='impatient_ros-') as folder:
        path = Path(folder) / 'network.safetensors'
        labels = [str(k) for k in range(network.classes)]
        save(network, path, labels=labels, preprocessing=Preprocessing((height, width)))
        graph = read(path).graph
    if graph is None:
        raise RuntimeUnavailableError('this network has no graph')
    precision = 'bf16' if 'bf16' in native('cpu') else 'f32'
    return select_runtime(
        Source((graph,)), 'openvino', 'cpu', threads=torch.get_num_threads(), precision=precision
    )


def _features(runtime: Runtime, x: torch.Tensor) -> list[torch.Tensor]:
    found: list[list[np.ndarray]] = [[] for _ in range(runtime.exits - 1)]
    for image in x.contiguous().numpy():
        features = runtime.upload(image[None])
        for t, those in enumerate(found):
            features = runtime.stage(t, features)
            those.append(np.array(features.data))  # the next run overwrites them
    return [torch.from_numpy(np.concatenate(each)) for each in found]
