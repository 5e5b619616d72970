"""What decoding and preprocessing cost, learned online per camera (D in the planner's rule)."""

from __future__ import annotations

from collections import deque

__all__ = ['PreparationCost', 'RollingQuantile']


class RollingQuantile:
    """A quantile of the latest observations.

    Args:
        probability: which quantile.
        start: its value before anything was observed.
        window: how many observations are kept.
    """

    def __init__(self, probability: float, start: float, window: int = 100) -> None:
        self._probability = probability
        self._latest: deque[float] = deque(maxlen=window)
        self._value = start

    @property
    def value(self) -> float:
        return self._value

    def observe(self, value: float) -> None:
        self._latest.append(value)
        ordered = sorted(self._latest)
        self._value = ordered[min(len(ordered) - 1, int(self._probability * len(ordered)))]


class PreparationCost(RollingQuantile):
    """Seconds from picking a frame up to having its tensor: the 0.9 quantile of the camera's latest frames.

    Not a high quantile: the plan is made again once the tensor is there, with what is really left. This
        value only decides whether a frame is worth decoding.
    """

    def __init__(self) -> None:
        super().__init__(0.9, start=0.0)
