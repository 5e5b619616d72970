"""Stages as CUDA graphs, channels last, in 16 bits where the scores allow it.

Launching a small network's kernels one by one costs more than computing them; a graph launches them at once.
At each resolution there is one graph per stage, one per head, and one per contract path. Tensors live at
fixed addresses: one frame is on its way at a time. Scores come back through pinned memory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.runtime.base import Run, Runtime, RuntimeUnavailableError
from impatient_ros.runtime.cuda.precision import CUDA_PRECISIONS, DTYPES, chosen_precision
from impatient_ros.runtime.cuda.preparation import DevicePreparation
from impatient_ros.runtime.eager import at_sides

if TYPE_CHECKING:
    from impatient_ros.network import ImpatientNetwork

__all__ = ['CudaGraphRuntime']


class CudaGraphRuntime(Runtime):
    """Captures the network's pieces once and replays them.

    Args:
        network: is put into eval() and onto the device; a copy of it in 16 bits is what executes there.
        device: a CUDA device.
        precision: 'f32' (convolutions may use TF32, as torch is set), 'f16', 'bf16', or 'auto': the first of
            f16 and bf16 that keeps the accuracy. Of one that is not in `accuracy_kept` the classes of every
            exit are compared, at the network's own resolution; f32 where none keeps it. What was chosen is
            the attribute of that name.
        sides: the resolutions, px, ascending, the last is the network's own; (): only that one.
        digest: of the weights, under which the precision that 'auto' finds is kept in the user's cache.
        accuracy_kept: whether it is, for each precision that was measured on labelled pictures.

    Raises:
        RuntimeUnavailableError: the device is none of CUDA's, or the network cannot be captured.
        ValueError: another precision.
    """

    name = 'cuda_graph'
    device = 'cuda'

    def __init__(
        self,
        network: ImpatientNetwork,
        device: torch.device,
        *,
        precision: str = 'auto',
        sides: Sequence[int] = (),
        digest: str | None = None,
        accuracy_kept: Mapping[str, bool] = MappingProxyType({}),
    ) -> None:
        if device.type != 'cuda':
            raise RuntimeUnavailableError(
                f"runtime 'cuda_graph' needs a CUDA device, not {device.type}; write auto or eager"
            )
        if precision not in CUDA_PRECISIONS:
            raise ValueError(f'precision is {precision!r}; write one of {", ".join(CUDA_PRECISIONS)}')
        self._torch_device = device
        self.exits = len(network.stages)
        network = network.eval().to(device)
        network.to(memory_format=torch.channels_last)
        self.precision = (
            chosen_precision(network, device, digest, accuracy_kept) if precision == 'auto' else precision
        )
        dtype = DTYPES[self.precision]
        self._stream = torch.cuda.Stream(device)
        self._prepare: dict[int, DevicePreparation] = {}  # by resolution
        try:
            executed = network if dtype == torch.float32 else copy.deepcopy(network).to(dtype)
            networks = at_sides(executed, sides)
            self._captured = {side: _Captured(each, self._stream, dtype) for side, each in networks.items()}
        except RuntimeError as error:
            raise RuntimeUnavailableError(
                f"runtime 'cuda_graph' cannot capture this network ({error}); write auto or eager"
            ) from error
        self.sides = tuple(self._captured)
        self._current = self._captured[self.sides[-1]]  # at the frame's resolution

    def upload(self, image: np.ndarray) -> None:
        """Copy the image through pinned memory to its fixed place; returns before it is there."""
        current = self._captured[self.side(image.shape[2])]
        self._stream.synchronize()  # a stage enqueued ahead by the frame before may still read
        self._current = current
        current.staging.copy_(torch.from_numpy(image))
        with torch.cuda.stream(self._stream):
            current.image.copy_(current.staging, non_blocking=True)

    def stage(self, index: int, features: Any) -> None:
        self._replay(self._current.stages[index])

    def exit(self, index: int, features: Any) -> np.ndarray:
        self.launch_exit(index)
        return self.harvest(index)

    def launch_exit(self, index: int) -> None:
        """Enqueue a head and the way of its scores to the host."""
        self._launch(index, *self._current.heads[index])

    def launch_path(self, index: int) -> None:
        """Enqueue everything from the image to the scores of exit `index`, as one graph."""
        self._launch(index, *self._current.paths[index])

    def harvest(self, index: int) -> np.ndarray:
        """Wait for scores that were launched; float32 [classes], memory of its own."""
        self._current.events[index].synchronize()
        return self._current.host_scores[index].numpy()[0].copy()

    def wait(self) -> None:
        self._stream.synchronize()

    def start(self, image: np.ndarray) -> Run:
        return _GraphRun(self, image)

    def begin(self, picture: np.ndarray, preprocessing: Callable[[np.ndarray], np.ndarray]) -> Run:
        """Begin a run on a picture; its bytes are uploaded and the device does the preprocessing."""
        if not isinstance(preprocessing, Preprocessing):
            return super().begin(picture, preprocessing)
        side = self.side(preprocessing.size[0])
        prepare = self._prepare.get(side)
        if prepare is None or prepare.preprocessing != preprocessing:
            prepare = self._prepare[side] = DevicePreparation(preprocessing, self._torch_device)
        self._stream.synchronize()  # a stage enqueued ahead by the frame before may still read
        self._current = self._captured[side]
        with torch.cuda.stream(self._stream):
            self._current.image.copy_(prepare(picture), non_blocking=True)
        return _GraphRun(self, None)

    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            'torch': torch.__version__,
            'gpu': torch.cuda.get_device_name(self._torch_device),
        }

    def _replay(self, graph: torch.cuda.CUDAGraph) -> None:
        with torch.cuda.stream(self._stream):
            graph.replay()

    def _launch(self, index: int, graph: torch.cuda.CUDAGraph, scores: torch.Tensor) -> None:
        self._replay(graph)
        with torch.cuda.stream(self._stream):
            self._current.host_scores[index].copy_(scores, non_blocking=True)
            self._current.events[index].record(self._stream)


class _Captured:
    """The network's graphs at one resolution, and the tensors that they read and write.

    Attributes:
        network: what was captured; it must outlive the graphs, which only know addresses of its tensors.
        staging, image: where an image is put on the host, pinned, and on the device.
        stages: a graph each.
        heads, paths: a graph each, and where it leaves its scores.
        host_scores, events: where the scores of an exit arrive, pinned, and what says that they are there.
    """

    def __init__(self, network: ImpatientNetwork, stream: torch.cuda.Stream, dtype: torch.dtype) -> None:
        self.network = network
        self._stream = stream
        shape = (1, *network.input_shape)
        self.staging = torch.zeros(shape).pin_memory()
        self.image = torch.zeros(shape, device=stream.device)
        self.stages: list[torch.cuda.CUDAGraph] = []
        self.heads: list[tuple[torch.cuda.CUDAGraph, torch.Tensor]] = []
        self.paths: list[tuple[torch.cuda.CUDAGraph, torch.Tensor]] = []
        self.host_scores: list[torch.Tensor] = []
        # Waiting for them is left to the driver, which spins where there are cores: on an H100 an event that
        # lets the core sleep took 12 % longer for a resnet18 (0.74 instead of 0.66 ms, p99 3 instead of 0.9).
        self.events = [torch.cuda.Event() for _ in network.stages]

        def enter() -> torch.Tensor:
            return self.image.to(dtype=dtype, memory_format=torch.channels_last)

        features = None
        for t, (stage, head) in enumerate(zip(network.stages, network.exits, strict=True)):

            def step(before: torch.Tensor | None = features, stage: torch.nn.Module = stage) -> torch.Tensor:
                return stage(enter() if before is None else before)

            graph, features = self._capture(step)
            self.stages.append(graph)

            def scores(after: torch.Tensor = features, head: torch.nn.Module = head) -> torch.Tensor:
                return head(after).float()

            self.heads.append(self._capture(scores))

            def path(t: int = t) -> torch.Tensor:
                return network.forward_to(enter(), t).float()

            self.paths.append(self._capture(path))
            self.host_scores.append(torch.zeros(self.paths[-1][1].shape).pin_memory())

    @torch.inference_mode()
    def _capture(self, compute: Callable[[], torch.Tensor]) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
        # Libraries choose and allocate in the first runs, which must not be captured.
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            for _ in range(3):
                compute()
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Every graph keeps memory of its own: what a stage returns must outlive the graphs captured after it.
        with torch.cuda.graph(graph, stream=self._stream):
            result = compute()
        return graph, result


class _GraphRun(Run):
    """One frame as graphs: a contract path is one launch, a stage and its head are launched together.

    At most one stage is enqueued ahead of the scores that the host waits for, and only where the plan says
    that its exit will be in time: an interruption costs at most that stage.
    """

    _runtime: CudaGraphRuntime

    def __init__(self, runtime: CudaGraphRuntime, image: np.ndarray | None) -> None:
        self._runtime = runtime
        self._features = None  # they stay on the device, at fixed addresses
        self.position = 0
        self._ready = False
        self._ahead = 0  # stages launched, from the image on
        if image is not None:
            runtime.upload(image)

    @property
    def ready(self) -> bool:
        return self._ready

    def stage(self, toward: int | None = None, then: int | None = None) -> None:
        self._ready = False
        if toward is not None and toward > self.position == self._ahead == 0:
            self._runtime.launch_path(toward)
            self._ready = True
            self.position = self._ahead = toward + 1
            return
        self._launch_stage(self.position)
        self.position += 1
        if toward == self.position - 1:
            self._runtime.launch_exit(toward)
            self._ready = True
            if then == self.position < self._runtime.exits:
                self._launch_stage(then)
        else:
            # What has been launched cannot be taken back. Waiting here keeps what is enqueued to one stage,
            # so that the plan for the next one is made with the time that is really left.
            self._runtime.wait()

    def exit(self) -> np.ndarray:
        if not self._ready:
            self._runtime.launch_exit(self.position - 1)
        self._ready = False
        return self._runtime.harvest(self.position - 1)

    def _launch_stage(self, index: int) -> None:
        if index == self._ahead:
            self._runtime.stage(index, None)
            self._ahead += 1
