"""From the parameters `device` and `runtime` to the thing that executes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from impatient_ros.runtime.base import RUNTIMES, Runtime, RuntimeUnavailableError
from impatient_ros.runtime.eager import EagerRuntime

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


def select_runtime(network: ImpatientNetwork, runtime: str = 'auto', device: str = 'auto') -> Runtime:
    """The runtime for a network; 'auto' takes the fastest that this version has and says which.

    Raises:
        RuntimeUnavailableError: the name is unknown, or it is not available here.
    """
    if runtime not in RUNTIMES:
        raise RuntimeUnavailableError(f'runtime {runtime!r} is unknown; write one of {", ".join(RUNTIMES)}')
    if runtime not in ('auto', 'eager'):
        raise RuntimeUnavailableError(
            f'runtime {runtime!r} is not available in this version; write auto or eager'
        )
    chosen = EagerRuntime(network, select_device(device))
    _log.info('stages execute on %s (%s)', chosen.name, chosen.device)
    return chosen
