"""What decoding and preprocessing cost, learned online per camera (D in the planner's rule)."""

from __future__ import annotations

from collections import deque

__all__ = ['PreparationCost', 'RollingQuantile']


class RollingQuantile:
    """The lower quantile of the latest observations: one of them, and from the second on not their maximum.

    Args:
        probability: which quantile.
        start: its value before enough was observed.
        window: how many observations are kept.
        min_observations: how many are enough.
    """

    def __init__(
        self, probability: float, start: float, window: int = 100, min_observations: int = 1
    ) -> None:
        self._probability = probability
        self._latest: deque[float] = deque(maxlen=window)
        self._start = self._value = start
        self._min_observations = min_observations

    @property
    def value(self) -> float:
        return self._value

    def observe(self, value: float) -> None:
        self._latest.append(value)
        ordered = sorted(self._latest)
        if len(ordered) >= self._min_observations:
            self._value = ordered[int(self._probability * (len(ordered) - 1))]


class PreparationCost(RollingQuantile):
    """Seconds from picking a frame up to having its tensor: the 0.2 quantile of the camera's latest frames.

    A low quantile: this value only decides whether a frame is worth decoding, and the plan is made once the
    tensor is there, with what is really left. On a loaded machine another process now and then takes the core
    during preparation; a higher quantile would include that, make all frames infeasible, and no frame would
    show that most of them could have been in time.

    Attributes:
        infeasible: infeasible frames in a row, counted by whoever decides that.
    """

    def __init__(self) -> None:
        self.infeasible = 0
        # Two frames: the very first one is slower than all that follow.
        super().__init__(0.2, start=0.0, min_observations=2)

    def forget(self) -> None:
        """Start anew.

        A cost that makes every frame infeasible is never observed again; after several infeasible frames in
        a row this is called, and the next frames show whether it is still so high.
        """
        self._latest.clear()
        self._value = self._start
        self.infeasible = 0
