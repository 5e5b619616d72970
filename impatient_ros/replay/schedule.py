"""When each frame of a source is due (own rate or a given one, once or repeated), and the replay's clock."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from impatient_ros.replay.frame import Source, SourceError, SourceFrame

__all__ = ['DueFrame', 'ReplayClock', 'schedule']

LONE_FRAME = 0.1  # s that a recording of a single frame takes when it is repeated
# Of a period: a live frame that is early by up to this much still counts for the next tick of `rate`. Cameras
# jitter, and without it every second frame of a camera at exactly `rate` could be left out.
EARLY = 0.25


@dataclass(frozen=True)
class DueFrame:
    """A frame and when it is due, in seconds since the start of the replay (None: at once).

    `shift_ns` is what to add to its recorded times so that they keep growing when a recording starts over.
    """

    frame: SourceFrame
    due: float | None
    shift_ns: int = 0


def schedule(
    source: Source,
    *,
    rate: float | None = None,
    frames: int | None = None,
    loop: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[DueFrame]:
    """The frames of `source`, at its own rate or `rate` Hz.

    With `frames` it ends after so many, and a recording that is shorter starts over. Without, it ends with
    the source, or never with `loop`. A live source has no schedule; `rate` then leaves frames out.
    Raises SourceError if the source is broken or has no frames at all.
    """
    count, lap_start, next_tick = 0, 0.0, float('-inf')
    while True:
        in_lap, span = 0, 0.0
        for frame in source.frames():
            if frame.time is None:
                if rate is not None:
                    now = clock()
                    if now < next_tick - EARLY / rate:
                        continue
                    next_tick = (next_tick if now < next_tick + 1 / rate else now) + 1 / rate
                due = None
            else:
                span = frame.time
                due = count / rate if rate is not None else lap_start + frame.time
            yield DueFrame(frame, due, round(lap_start * 1e9))
            count, in_lap = count + 1, in_lap + 1
            if count == frames:
                return
        if in_lap == 0:
            raise SourceError(f'{source.description} has no frames')
        if frames is None and not loop:
            return
        lap_start += span + (span / (in_lap - 1) if in_lap > 1 and span > 0 else LONE_FRAME)


class ReplayClock:
    """The recording's time as the replay goes on: linear between frames, at the pace at which they are shown.

    `reach` announces the next frame before `now_ns` is asked for times up to it. It never goes back, and
    never beyond a frame that is not announced yet, until `release` lets it run on after the last one.
    """

    def __init__(self) -> None:
        self._before: tuple[float, int] | None = None  # (due in s, instant of the recording in ns)
        self._next: tuple[float, int] | None = None
        self._latest_ns = 0
        self._released = False

    def reach(self, due: float, instant_ns: int) -> None:
        self._before, self._next = self._next, (due, instant_ns)

    def release(self) -> None:
        self._released = True

    def now_ns(self, elapsed: float) -> int:
        """The recording's time, `elapsed` seconds after the start of the replay (negative: before it)."""
        if self._next is None:
            return self._latest_ns
        due, instant_ns = self._next
        if elapsed >= due:
            at_ns = instant_ns + (round((elapsed - due) * 1e9) if self._released else 0)
        elif self._before is None:
            at_ns = instant_ns - round((due - elapsed) * 1e9)
        else:
            due_before, before_ns = self._before
            share = (elapsed - due_before) / (due - due_before)
            at_ns = before_ns + round(max(share, 0.0) * (instant_ns - before_ns))
        self._latest_ns = max(self._latest_ns, at_ns)
        return self._latest_ns
