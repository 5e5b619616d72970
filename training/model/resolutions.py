"""Several resolutions in one batch: which ones it trains, and its pictures at each of them.

Every batch trains the smallest, the largest and one random resolution between them, the "sandwich rule" of
Yu and Huang, "Universally Slimmable Networks and Improved Training Techniques", ICCV 2019, there for widths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from impatient_ros.network import ImpatientNetwork

__all__ = ['at_sides', 'macs_per_picture', 'path_names', 'resized', 'sandwich', 'sides_of']


def sides_of(resolutions: Sequence[int], image_size: tuple[int, int]) -> tuple[int, ...]:
    """The sides to train at, px; without further resolutions that of the network alone. Raises ValueError."""
    height, width = image_size
    if not resolutions:
        return (height,)
    sides = tuple(resolutions)
    if height != width or sides[-1] != height or list(sides) != sorted(set(sides)) or sides[0] < 1:
        raise ValueError(
            f'model.network.resolutions is {list(sides)}: write sides in pixels, ascending; the last is '
            f"data.size, the network's own, here {height}"
        )
    return sides


def at_sides(network: ImpatientNetwork, sides: Sequence[int]) -> list[ImpatientNetwork]:
    """The network at each of these sides, the last its own; all of them are the same layers. ValueError."""
    return [*(network.at(side) for side in sides[:-1]), network]


def path_names(sides: Sequence[int], exits: int) -> tuple[str, ...]:
    """A name for every path, smallest resolution first: `2` for exit 2, `24px_2` where there are several."""
    prefixes = [f'{side}px_' for side in sides] if len(sides) > 1 else ['']
    return tuple(f'{prefix}{t + 1}' for prefix in prefixes for t in range(exits))


def sandwich(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """The resolutions (by index, ascending) that a batch trains, each with how many it stands for.

    The random one stands for all between the smallest and the largest, so that the weighted sum of losses is
    on average that over all `count` resolutions.
    """
    if count == 1:
        return [(0, 1)]
    between = [(int(rng.integers(1, count - 1)), count - 2)] if count > 2 else []
    return [(0, 1), *between, (count - 1, 1)]


def macs_per_picture(networks: Sequence[ImpatientNetwork]) -> float:
    """What a picture of a batch costs, forward, through all exits at the resolutions of its batch."""
    costs = [network.costs('interruptible')[-1] for network in networks]
    between = [float(np.mean(costs[1:-1]))] if len(costs) > 2 else []
    return sum([costs[0], *between, costs[-1]] if len(costs) > 1 else costs)


def resized(x: torch.Tensor, side: int) -> torch.Tensor:
    """A batch x [N, 3, H, H] of the largest resolution at a smaller one, [N, 3, side, side].

    As `Preprocessing.at` has it: the same part of each picture, every pixel an average over the area that it
    covers.
    """
    if x.shape[-2] == side:
        return x
    small = functional.interpolate(x, (side, side), mode='bilinear', antialias=True)
    return small.contiguous(
        memory_format=torch.channels_last if x.stride(1) == 1 else torch.contiguous_format
    )
