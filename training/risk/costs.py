"""What each exit costs: multiply-accumulates, or seconds measured on this machine or on a robot.

costs = exit_costs(network, 'macs', 'contract')
costs = path_costs([network.at(96), network], 'macs')    # all exits at 96 px, then all at its own size
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

__all__ = ['exit_costs', 'increasing', 'measured_profile', 'path_costs']

TIME_LIMIT = 6.0  # s, for one network's latencies


def exit_costs(
    network: ImpatientNetwork,
    costs: str | Sequence[float] = 'macs',
    mode: str = 'contract',
    overhead: float = 0.0,
    device: str = 'auto',
) -> tuple[float, ...]:
    """The cost of each exit [T], from the first to the last; see `path_costs`."""
    return path_costs([network], costs, mode, overhead, device)


def path_costs(
    networks: Sequence[ImpatientNetwork],
    costs: str | Sequence[float] = 'macs',
    mode: str = 'contract',
    overhead: float = 0.0,
    device: str = 'auto',
) -> tuple[float, ...]:
    """The cost of each path [R * T]: of all exits at one resolution, then of those at the next.

    Args:
        networks: the network at each resolution, ascending.
        costs: 'macs'; 'measured' (s, eager, on this machine); the path of a latency profile in JSON (s), as
            the node keeps it in its cache on the robot; or one number of seconds per path.
        mode: contract (one head) or interruptible (all heads so far).
        overhead: what decoding, preprocessing and publishing take, s; added to costs in seconds.

    Raises:
        ValueError: unknown mode or costs, or costs for other exits or resolutions.
    """
    if overhead < 0:
        raise ValueError(f'overhead is {overhead}: write seconds, at least 0')
    exits = len(networks[0].exits)
    if costs == 'macs':
        if overhead:
            raise ValueError(
                'overhead is in seconds and costs are MACs: write costs measured, or no overhead'
            )
        return tuple(cost for network in networks for cost in network.costs(mode))
    if mode not in ('contract', 'interruptible'):
        raise ValueError(f"mode is {mode!r}: write 'contract' or 'interruptible'")
    if costs == 'measured':
        profiles = [measured_profile(network, device) for network in networks]
        own = [cost for profile in profiles for cost in profile.costs(mode)]
    elif isinstance(costs, str):
        profiles = _profiles(costs, [network.input_shape[-1] for network in networks])
        own = [cost for profile in profiles for cost in profile.costs(mode)]
    else:
        own = [float(c) for c in costs]
    if len(own) != exits * len(networks):
        at = f' at {len(networks)} resolutions' if len(networks) > 1 else ''
        raise ValueError(f'{len(own)} costs for {exits} exits{at}: write one per exit')
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


def _profiles(path: str, sides: Sequence[int]) -> list[LatencyProfile]:
    """That of each of these resolutions, px. A single one gets the file's last where it is not named."""
    if not path.endswith('.json'):
        raise ValueError(
            f"costs is {path!r}: write 'macs', 'measured', a profile (.json), or seconds per exit"
        )
    try:
        values: dict[str, Any] = json.loads(Path(path).read_text(encoding='utf-8'))
        found = [LatencyProfile.from_dict(each) for each in values.get('profiles', [values])]
        measured = dict(zip(values.get('key', {}).get('resolutions', ()), found, strict=False))
    except (ValueError, AttributeError) as error:
        raise ValueError(f'costs: {path} is no latency profile: {error}') from error
    if len(sides) == 1:
        return [measured.get(sides[0], found[-1])]
    if missing := [side for side in sides if side not in measured]:
        raise ValueError(f'costs: {path} has no latencies at {missing[0]} px, but at {list(measured)}')
    return [measured[side] for side in sides]
