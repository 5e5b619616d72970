"""How many times slower than its profile the machine is at the moment, estimated frame by frame."""

from __future__ import annotations

import math

__all__ = ['MAX_LOG', 'SlowdownEstimate', 'bounded']

# |Logarithm| of a slowdown or an error: a factor of 33. Chosen, not measured: one absurd time must not stay
# in the estimate for long.
MAX_LOG = 3.5
# Of a frame in the trailing means: they remember about ten frames, longer than a hiccup lasts. On the
# recorded traces half or twice of it changes overruns to 1.56 and 1.68 %.
TRAILING_WEIGHT = 0.1
# The furthest that one frame alone moves the estimate (logarithm): one may be a hiccup. On the recorded
# traces half of it changes misses to 0.11 % and protects exits in 1.6 points fewer of the frames; twice of it
# changes misses to 0.08 %.
MAX_STEP = 0.3


class SlowdownEstimate:
    """Logarithms throughout, on top of the profile's medians.

    Args:
        weight: how far the estimate moves towards what one frame showed (0..1).

    Attributes:
        now: the estimate.
        trailing: a slower mean of it: what it was a while ago.
        trailing_observed: the same mean of what frames showed, hiccups included.
    """

    def __init__(self, weight: float) -> None:
        self._weight = weight
        self.now = self.trailing = self.trailing_observed = 0.0
        self._previous_surprise = 0.0  # by how much the frame before differed from the estimate

    @property
    def optimistic(self) -> float:
        """The lower one of the estimate and that of a while ago: after a hiccup, the likelier one."""
        return min(self.now, self.trailing)

    def learn(self, observed: float, usual_error: float) -> None:
        """A frame showed that slowdown, where a single frame usually differs by so much.

        One frame moves the estimate in part, and not far: it may be a hiccup. A second one that differs to
        the same side, by more than is usual, is a change: then the estimate moves as far as both agree.
        """
        surprise = observed - self.now
        previous, self._previous_surprise = self._previous_surprise, surprise
        agreed = min(abs(previous), abs(surprise)) if previous * surprise > 0 else 0.0
        step = min(self._weight * abs(surprise), MAX_STEP)
        if agreed > usual_error:
            step = max(step, agreed)
        self.now = bounded(self.now + math.copysign(step, surprise))
        self.trailing += TRAILING_WEIGHT * (self.now - self.trailing)
        self.trailing_observed += TRAILING_WEIGHT * (observed - self.trailing_observed)


def bounded(logarithm: float) -> float:
    """`logarithm` within -MAX_LOG..MAX_LOG."""
    return max(-MAX_LOG, min(MAX_LOG, logarithm))
