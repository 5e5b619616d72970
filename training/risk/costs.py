"""What each exit costs: multiply-accumulates, or seconds measured on this machine or on a robot.

costs = exit_costs(network, 'macs', 'contract')
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from impatient_ros.network import ImpatientNetwork
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.profiling import measure
from impatient_ros.runtime import Source, select_runtime

__all__ = ['exit_costs', 'increasing', 'measured_profile']

TIME_LIMIT = 6.0  # s, for one network's latencies


def exit_costs(
    network: ImpatientNetwork,
    costs: str | Sequence[float] = 'macs',
    mode: str = 'contract',
    overhead: float = 0.0,
    device: str = 'auto',
) -> tuple[float, ...]:
    """The cost of each exit [T], from the first to the last.

    Args:
        costs: 'macs'; 'measured' (s, eager, on this machine); the path of a latency profile in JSON (s), as
            the node keeps it in its cache on the robot; or one number of seconds per exit.
        mode: contract (one head) or interruptible (all heads so far).
        overhead: what decoding, preprocessing and publishing take, s; added to costs in seconds.

    Raises:
        ValueError: unknown mode or costs, or costs for another number of exits.
    """
    if overhead < 0:
        raise ValueError(f'overhead is {overhead}: write seconds, at least 0')
    exits = len(network.exits)
    if costs == 'macs':
        if overhead:
            raise ValueError(
                'overhead is in seconds and costs are MACs: write costs measured, or no overhead'
            )
        return network.costs(mode)
    if mode not in ('contract', 'interruptible'):
        raise ValueError(f"mode is {mode!r}: write 'contract' or 'interruptible'")
    if costs == 'measured':
        own = measured_profile(network, device).costs(mode)
    elif isinstance(costs, str):
        own = _profile(costs).costs(mode)
    else:
        own = tuple(float(c) for c in costs)
    if len(own) != exits:
        raise ValueError(f'{len(own)} costs for {exits} exits: write one per exit')
    return tuple(c + overhead for c in own)


def increasing(costs: Sequence[float]) -> tuple[float, ...]:
    """Costs of which none is below an earlier one's, as measured ones can be by chance."""
    return tuple(accumulate(costs, max))


def measured_profile(network: ImpatientNetwork, device: str = 'auto') -> LatencyProfile:
    """The latencies of `network` here and now, eager, from a preprocessed picture on."""
    runtime = select_runtime(Source(network=lambda: copy.deepcopy(network)), 'eager', device)
    tensor = np.zeros((1, *network.input_shape), np.float32)
    [profile] = measure(
        [lambda: runtime.start(tensor)], len(network.exits), time.perf_counter, time_limit=TIME_LIMIT
    )
    return profile


def _profile(path: str) -> LatencyProfile:
    if not path.endswith('.json'):
        raise ValueError(
            f"costs is {path!r}: write 'macs', 'measured', a profile (.json), or seconds per exit"
        )
    try:
        values: dict[str, Any] = json.loads(Path(path).read_text(encoding='utf-8'))
        return LatencyProfile.from_dict(values.get('profiles', [values])[-1])  # the largest resolution's
    except (ValueError, AttributeError) as error:
        raise ValueError(f'costs: {path} is no latency profile: {error}') from error
