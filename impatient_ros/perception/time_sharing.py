"""Several cameras, one model: how long a frame may take while frames of other cameras wait.

The first exit of a frame is its mandatory part, everything deeper is optional (imprecise computation: Liu et
al., "Algorithms for scheduling imprecise computations", Computer 1991). Frames are taken by their deadlines,
earliest first (`latest_frames`).

- The mandatory part is done in any case, by the frame's own deadline.
- The optional part ends where the waiting frames would get less time than it: with n waiting, it may take
  1 / (n + 1) of what is left until the last of their deadlines. All run the same network, in which every
  further exit gains less per second than the one before, so equal parts give the most accuracy per second.
  A part is fixed when the frame begins; only further frames make it smaller. Exits that are unlikely to be
  done in it are not tried: before its deadline, a stage that is launched is not stopped.

So an overload takes the deep exits from all cameras alike before it takes the first one from any. Where there
is not even time for all first exits, frames are late in the order of their deadlines and newer frames
supersede them; a camera of which SUPERSEDED_LIMIT frames in a row were superseded goes first: none starves.

Seconds.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ['SUPERSEDED_LIMIT', 'share']

# Frames of a camera that may be superseded in a row before it goes first. Chosen, not measured: in overload
# a camera is then served often, and the earliest deadline still decides most turns.
SUPERSEDED_LIMIT = 3


def share(left: float, waiting: Iterable[float]) -> float:
    """Seconds that a frame's optional part may take from now on.

    Args:
        left: until its own deadline.
        waiting: until the deadline of each waiting frame. Those that are past get no time kept for them.
    """
    for others, until in enumerate(sorted(each for each in waiting if each > 0), start=1):
        left = min(left, until / (others + 1))
    return left
