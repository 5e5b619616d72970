"""Stages on eager torch, CPU or CUDA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from impatient_ros.runtime.base import Runtime
from impatient_ros.runtime.machine import usable_cores

if TYPE_CHECKING:
    from impatient_ros.network import ImpatientNetwork

__all__ = ['EagerRuntime', 'at_sides']


class EagerRuntime(Runtime):
    """Runs the modules of an `ImpatientNetwork` as they are.

    Args:
        network: is put into eval() and onto the device.
        device: a torch device.
        threads: how many compute on the CPU, for all of torch in this process; 0: as many as torch would
            take, at most as many as this process may use.
        sides: the resolutions, px, ascending, the last is the network's own; (): only that one.
    """

    name = 'eager'

    def __init__(
        self, network: ImpatientNetwork, device: torch.device, threads: int = 0, sides: Sequence[int] = ()
    ) -> None:
        if device.type == 'cpu':
            torch.set_num_threads(threads or min(torch.get_num_threads(), usable_cores()))
        self._torch_device = device
        self.device = device.type
        self.exits = len(network.stages)
        # Convolutions run up to a third faster on channels-last activations, on CPU and on GPU.
        network = network.eval().to(device)
        network.to(memory_format=torch.channels_last)
        self._networks = at_sides(network, sides)
        self.sides = tuple(self._networks)
        self._current = network  # at the frame's resolution

    @torch.inference_mode()
    def upload(self, image: np.ndarray) -> torch.Tensor:
        self._current = self._networks[self.side(image.shape[2])]
        host = torch.from_numpy(image)
        return host.to(device=self._torch_device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def stage(self, index: int, features: Any) -> torch.Tensor:
        return self._current.stages[index](features)

    @torch.inference_mode()
    def exit(self, index: int, features: Any) -> np.ndarray:
        return self._current.exits[index](features)[0].float().cpu().numpy()

    def wait(self) -> None:
        if self.device == 'cuda':
            torch.cuda.synchronize(self._torch_device)

    def describe(self) -> dict[str, Any]:
        description: dict[str, Any] = {
            **super().describe(),
            'torch': torch.__version__,
            'threads': torch.get_num_threads(),
        }
        if self.device == 'cuda':
            description['gpu'] = torch.cuda.get_device_name(self._torch_device)
        return description


def at_sides(network: ImpatientNetwork, sides: Sequence[int]) -> dict[int, ImpatientNetwork]:
    """The network at each resolution, with the same parameters; () means its own alone."""
    own = network.input_shape[1]
    return {side: network if side == own else network.at(side) for side in sides or (own,)}
