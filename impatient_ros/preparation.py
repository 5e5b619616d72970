"""What decoding and preprocessing cost, learned online per camera (D in the planner's rule)."""

from __future__ import annotations

from collections import deque

__all__ = ['PreparationCost', 'RollingQuantile']


class RollingQuantile:
    """A quantile of the latest observations, taken from below: of few, their largest is none of it.

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
        self._value = ordered[int(self._probability * (len(ordered) - 1))]


class PreparationCost(RollingQuantile):
    """Seconds from picking a frame up to having its tensor: the 0.9 quantile of the camera's latest frames.

    Not a high quantile: the plan is made again once the tensor is there, with what is really left. This
    value only decides whether a frame is worth decoding.
    """

    def __init__(self) -> None:
        super().__init__(0.9, start=0.0)

    def relax(self) -> None:
        """Keep only the smallest observation.

        A cost that makes every frame infeasible is never observed again; whoever sees many infeasible frames
        in a row calls this, and the next frame shows whether it is still so high.
        """
        if self._latest:
            smallest = min(self._latest)
            self._latest.clear()
            self.observe(smallest)
