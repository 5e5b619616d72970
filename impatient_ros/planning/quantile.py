"""The quantile of ordered samples."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ['quantile']


def quantile(ordered: Sequence[float], probability: float) -> float:
    """The quantile of ascending samples, linear between them (type 7 of Hyndman and Fan, "Sample quantiles in
    statistical packages", 1996; NumPy's default).
    """
    rank = probability * (len(ordered) - 1)
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (rank - low) * (ordered[high] - ordered[low])
