"""What a checkpoint says of each resolution and of each path, that is, of each exit at a resolution."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from impatient_ros.checkpoint.graph import Graph
from impatient_ros.images.preprocessing import Preprocessing

__all__ = ['Path', 'Resolution', 'paths_of']


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """A size of the network's input that it was validated at.

    `side` is in px, that of a square (where the network's one size is no square, its shorter side). The
    tuples have one value per exit: `accuracies` from 0 to 1, `macs` from the image to the exit's scores with
    that head alone. `graph` is None in a file without graphs.
    """

    side: int
    preprocessing: Preprocessing
    accuracies: tuple[float, ...]
    temperatures: tuple[float, ...]
    macs: tuple[int, ...]
    graph: Graph | None


@dataclass(frozen=True)
class Path:
    """One pass at `resolution` (px) up to the exit `exit_index` (0-based): what it costs and is worth."""

    resolution: int
    exit_index: int
    macs: int
    accuracy: float
    temperature: float


def paths_of(resolutions: Iterable[Resolution]) -> tuple[Path, ...]:
    """Every path, cheapest (MACs) first."""
    found = [
        Path(each.side, t, each.macs[t], each.accuracies[t], each.temperatures[t])
        for each in resolutions
        for t in range(len(each.macs))
    ]
    return tuple(sorted(found, key=lambda path: (path.macs, path.resolution, path.exit_index)))
