"""How many times slower than its profile the machine is at the moment, followed frame by frame."""

from __future__ import annotations

import math

__all__ = ['LARGEST', 'Level', 'bounded']

LARGEST = 3.5  # |logarithm| of a level or an error; a machine 33 times slower has other troubles
SLOW = 0.1  # how far what was a while ago moves with each frame
STRIDE = 0.3  # the furthest that one frame alone moves the level (logarithm)


class Level:
    """Logarithms throughout.

    Args:
        follow: how far the level moves towards what a frame showed (0..1).

    Attributes:
        now: the level.
        before: the level of a while ago.
        shown: what frames of a while ago showed, hiccups included.
    """

    def __init__(self, follow: float) -> None:
        self._follow = follow
        self.now = self.before = self.shown = 0.0
        self._surprise = 0.0  # by how much the frame before was off

    @property
    def least(self) -> float:
        """The lower one of the level and that of a while ago: after a hiccup, the likelier one."""
        return min(self.now, self.before)

    def learn(self, shown: float, usual: float) -> None:
        """A frame showed that level, where levels are usually off by so much.

        One frame moves it in part, and not far: it may be a hiccup. A second one that is off to the same
        side, and by more than what is usual, is a change: then the level moves as far as both agree.
        """
        surprise = shown - self.now
        previous, self._surprise = self._surprise, surprise
        agreed = min(abs(previous), abs(surprise)) if previous * surprise > 0 else 0.0
        step = min(self._follow * abs(surprise), STRIDE)
        if agreed > usual:
            step = max(step, agreed)
        self.now = bounded(self.now + math.copysign(step, surprise))
        self.before += SLOW * (self.now - self.before)
        self.shown += SLOW * (shown - self.shown)


def bounded(logarithm: float) -> float:
    return max(-LARGEST, min(LARGEST, logarithm))
