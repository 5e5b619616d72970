"""What preparing pictures costs, learned online per camera and resolution (D in the planner's rule)."""

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


class PreparationCost:
    """Seconds from picking up a frame of one camera to having its picture, and from there to the tensor of
    each resolution: the 0.2 quantiles of the latest frames.

    Low quantiles: they decide whether a frame is worth decoding and at which resolution it is prepared; the
    plan that counts is made once the tensor is there, with what is really left. On a loaded machine another
    process now and then takes the core during preparation; a higher quantile would include that, make all
    frames infeasible, and no frame would show that most of them could have been in time.

    Args:
        resolutions: how many there are.

    Attributes:
        infeasible: infeasible frames in a row, counted by whoever decides that.
        resize: seconds from the picture to the tensor, by index of the resolution; of one that was not seen
            yet, the nearest one's.
    """

    resize: tuple[float, ...]

    def __init__(self, resolutions: int = 1) -> None:
        self._resolutions = resolutions
        self.forget()

    @property
    def decode(self) -> float:
        """Seconds from picking a frame up to having its picture."""
        return self._decode.value

    def observe_decode(self, seconds: float) -> None:
        self._decode.observe(seconds)

    def observe_resize(self, resolution: int, seconds: float) -> None:
        self._resize[resolution].observe(seconds)
        self._seen[resolution] = True
        known = [r for r, seen in enumerate(self._seen) if seen]
        nearest = [min(known, key=lambda r: abs(r - each)) for each in range(self._resolutions)]
        self.resize = tuple([self._resize[r].value for r in nearest])

    def forget(self) -> None:
        """Start anew.

        A cost that makes every frame infeasible is never observed again; after several infeasible frames in
        a row this is called, and the next frames show whether it is still so high.
        """
        # Two frames: the very first one is slower than all that follow.
        self._decode = RollingQuantile(0.2, start=0.0, min_observations=2)
        self._resize = [RollingQuantile(0.2, 0.0, min_observations=2) for _ in range(self._resolutions)]
        self._seen = [False] * self._resolutions
        self.resize = (0.0,) * self._resolutions
        self.infeasible = 0
