"""From the parameters `device` and `runtime` to the thing that executes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from impatient_ros.runtime.base import RUNTIMES, Runtime, RuntimeUnavailableError
from impatient_ros.runtime.cuda.graph import CudaGraphRuntime
from impatient_ros.runtime.eager import EagerRuntime
from impatient_ros.runtime.onnx.runtime import OnnxRuntime, onnxruntime_installed

if TYPE_CHECKING:
    from impatient_ros.network import ImpatientNetwork

__all__ = ['select_device', 'select_runtime']

_log = logging.getLogger(__name__)


def select_device(device: str) -> torch.device:
    """The torch device that `device` ('auto', 'cpu', 'cuda', 'cuda:1') means here.

    Raises:
        RuntimeUnavailableError: not a device, or not on this machine.
    """
    if device == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise RuntimeUnavailableError(f'device {device!r} is unknown; write auto, cpu or cuda') from error
    if chosen.type not in ('cpu', 'cuda'):
        raise RuntimeUnavailableError(f'device {device!r} is not supported; write auto, cpu or cuda')
    if chosen.type == 'cuda' and (chosen.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise RuntimeUnavailableError(
            f'device {device!r}: torch sees {found} CUDA devices here; write auto or cpu'
        )
    return chosen


def select_runtime(
    network: ImpatientNetwork, runtime: str = 'auto', device: str = 'auto', *, digest: str | None = None
) -> Runtime:
    """The runtime for a network; 'auto' takes the fastest that works here and says which.

    On the CPU that is ONNX Runtime where it is installed (1.5 to 4 times faster than eager torch).
    `digest` identifies the weights: what a runtime prepares from them is then kept in the user's cache.

    Raises:
        RuntimeUnavailableError: the name is unknown, or it is not available here.
    """
    if runtime not in RUNTIMES:
        raise RuntimeUnavailableError(f'runtime {runtime!r} is unknown; write one of {", ".join(RUNTIMES)}')
    chosen = _automatic(network, select_device(device), digest) if runtime == 'auto' else None
    if chosen is None:
        chosen = _named(network, runtime, device, digest)
    _log.info('stages execute on %s (%s)', chosen.name, chosen.device)
    return chosen


def _automatic(network: ImpatientNetwork, device: torch.device, digest: str | None) -> Runtime:
    if device.type == 'cuda':
        try:
            return CudaGraphRuntime(network, device)
        except Exception as error:  # noqa: BLE001  drivers and captures fail in ways of their own
            _log.warning('CUDA graphs do not work here, eager torch is used: %s', error)
    elif not onnxruntime_installed():
        _log.warning('onnxruntime is not installed: eager torch is 1.5 to 4 times slower on a CPU')
    else:
        try:
            return OnnxRuntime(network, digest)
        except RuntimeUnavailableError as error:
            _log.warning('%s: eager torch is used', error)
    return EagerRuntime(network, device)


def _named(network: ImpatientNetwork, runtime: str, device: str, digest: str | None) -> Runtime:
    if runtime == 'eager':
        return EagerRuntime(network, select_device(device))
    if runtime == 'onnxruntime':
        if device != 'auto' and select_device(device).type != 'cpu':
            raise RuntimeUnavailableError(
                f"runtime 'onnxruntime' executes on the CPU, not on {device}; write device auto or cpu"
            )
        return OnnxRuntime(network, digest)
    chosen = select_device(device)
    if chosen.type != 'cuda':
        raise RuntimeUnavailableError(
            f"runtime 'cuda_graph' needs a CUDA device, and torch sees {torch.cuda.device_count()} here; "
            'write runtime auto, eager or onnxruntime'
        )
    return CudaGraphRuntime(network, chosen)
