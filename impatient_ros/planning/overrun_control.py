"""How much more time than forecast an exit is given, so that the long-run rate of overruns is what was asked.

One controller per camera: cameras may accept different rates, and none shall pay for another's overruns. The
errors of forecasts are the machine's and shared by all of them.

The *overrun margin* of a path lies at the 0.9 quantile of the errors plus an *offset*, in units of their
spread. Adaptive conformal control holds the offset of each depth (see `Depths`): it grows by
gain * (1 - rate) whenever a frame reaches that depth later than the margin allows, and shrinks by gain * rate
otherwise. Since it cannot run away, the long-run share of late frames tends to `rate` whatever the machine
does (Gibbs, Candes, "Adaptive conformal inference under distribution shift", NeurIPS 2021; on the scores as
in Angelopoulos, Candes, Tibshirani, "Conformal PID control for time series prediction", NeurIPS 2023).

That is the share of all frames. Exits are protected where the forecast is low, which is more often wrong: a
second offset, the same for all depths, is controlled by the overruns of protected exits alone.

The 1 - rate quantile of the errors itself would do without control, but the few frames at the beginning of a
burst would hold it up for as long as the window keeps them, and the deeper exits with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from impatient_ros.planning.error_window import ErrorWindow
from impatient_ros.planning.forecast import DepthError, Forecast
from impatient_ros.planning.slowdown import bounded

__all__ = ['OverrunControl', 'OverrunState']

# Steps of the control of each depth and of protected exits alone, in units of the errors' spread; the second
# is smaller since both answer the same overrun. On the first 1,500 frames of each of the recorded traces
# (adaptive mode, miss rate 1 %) overruns are 1.7 % on average; with half of the first gain 1.9 %, with
# half of the second 2.1 %, with twice of one of them 1.5 and 1.4 %. The expected accuracy stays the same.
DEPTH_GAIN, PROTECTED_GAIN = 1.0, 0.5
# What a frame without a protected exit leaves of the second offset (half of it goes in 700 frames). An offset
# so large that nothing is protected any more would otherwise never be corrected. On the recorded traces twice
# as fast (0.998) raises overruns to 1.72 %, half as fast (0.9995) to 1.64 %, and none of it (1) to 2.52 %.
DECAY = 0.999


@dataclass(frozen=True)
class OverrunState:
    """How one camera's miss rate is held; for people.

    Attributes:
        margin: factor on the forecast of the first exit within which it would be protected.
        protected: exits protected so far whose end is known.
        overruns: how many of them completed later than planned.
    """

    margin: float
    protected: int
    overruns: int

    @property
    def overrun_rate(self) -> float | None:
        """Share of protected exits that overran; None where there was none yet."""
        return self.overruns / self.protected if self.protected else None


class OverrunControl:
    """Holds one camera's long-run rate of overruns.

    Args:
        forecast: of the machine. The offsets begin where its errors put the 1 - rate quantile.
        miss_rate: accepted long-run rate of overruns of protected exits; may be set.
        gain: step of the control of each depth, in units of the errors' spread.
    """

    def __init__(self, forecast: Forecast, miss_rate: float, *, gain: float = DEPTH_GAIN) -> None:
        self.miss_rate = miss_rate
        self._forecast = forecast
        self._gain = gain
        self._protected = self._overruns = 0
        self._depth_offsets = [
            (window.quantile(1 - miss_rate) - window.high) / window.spread
            for window in forecast.errors[: forecast.depths.from_start]
        ]
        self._protected_offset = 0.0
        self._was_protected = False  # whether the frame in progress had a protected exit
        self._update()

    def margins(self) -> Sequence[float]:
        """The overrun margins by depth, as in `Forecast.errors`: factors on the forecast cost within which
        that many stages end with probability 1 - rate.
        """
        if self._frames != self._forecast.frames:  # it has learned from a frame of another camera
            self._update()
        return self._margins

    def state(self) -> OverrunState:
        """A snapshot; from any thread."""
        return OverrunState(self._margins[1], self._protected, self._overruns)

    def count(self, *, overrun: bool) -> None:
        """The protected exit of the frame in progress completed, in the planned time or later, or was
        abandoned, which counts as an overrun.
        """
        self._protected += 1
        self._overruns += overrun
        self._protected_offset += PROTECTED_GAIN * ((1.0 if overrun else 0.0) - self.miss_rate)
        self._was_protected = True

    def learn(self, errors: Iterable[DepthError], abandoned: int | None = None) -> None:
        """A frame of this camera has ended, and the forecast has learned from it.

        Args:
            errors: what the forecast got wrong at each depth that was seen.
            abandoned: the depth of a protected exit that was abandoned: an overrun there.
        """
        if not self._was_protected:
            self._protected_offset *= DECAY
        self._was_protected = False
        for depth, error, at_least in errors:
            late = error > self._depth_log_margins[depth]
            # Of a run that was stopped before its margin had passed, nobody knows.
            if (late or not at_least) and depth != abandoned:
                self._reached(depth, late)
        if abandoned is not None:
            self._reached(abandoned, late=True)
        self._update()

    def _reached(self, depth: int, late: bool) -> None:
        self._depth_offsets[depth] += self._gain * ((1.0 if late else 0.0) - self.miss_rate)

    def _update(self) -> None:
        """Margins are asked for in every decision and change once per frame."""
        forecast = self._forecast
        self._frames = forecast.frames
        starts = forecast.errors[: forecast.depths.from_start]
        self._depth_log_margins = self._log_margins(starts)
        self._margins = [
            # Exits are protected at the start only.
            *_factors(self._log_margins(starts, self._protected_offset)),
            *_factors(self._log_margins(forecast.errors[forecast.depths.from_start :])),
        ]

    def _log_margins(self, windows: Sequence[ErrorWindow], more: float = 0.0) -> list[float]:
        lift = self._forecast.trailing_excess
        return [
            bounded(window.high + (offset + more) * window.spread + lift)
            for window, offset in zip(windows, self._depth_offsets, strict=True)
        ]


def _factors(logarithms: Sequence[float]) -> list[float]:
    return [math.exp(each) for each in logarithms]
