"""How far from the forecast a path is promised, so that the long-run share of late promises is what was
asked.

A promise lies at the 0.9 quantile of the errors plus a *reach*, in units of their spread. Adaptive conformal
control holds the reach of each depth: it grows by gain * (1 - rate) whenever a frame reaches that depth later
than promised, or than it would have been, and shrinks by gain * rate otherwise. Since it cannot run away, the
long-run share of late ones tends to `rate` whatever the machine does (Gibbs, Candes, "Adaptive conformal
inference under distribution shift", NeurIPS 2021; on the scores as in Angelopoulos, Candes, Tibshirani,
"Conformal PID control for time series prediction", NeurIPS 2023). That is the share of all frames; promises
are made when the forecast is low, which is more often wrong. What they alone miss the rate by, *caution*
makes up for in the same way.

The 1 - rate quantile of the errors itself would do without control, but the few frames at the beginning of a
burst would hold it up for as long as they are remembered, and the deeper exits with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from impatient_ros.planning.error_window import Errors

__all__ = ['Promises']

CAUTION_GAIN = 0.5  # step of the control over actual promises, in units of the errors' spread
CALM = 0.999  # what a frame without a promise leaves of the caution: without promises nobody hears of it


class Promises:
    """The reaches of all depths, and the caution over the promises made.

    Args:
        families: the errors of paths from the start, by the number of stages; the reaches begin where these
            put the 1 - rate quantile.
        rate: long-run share of promises that may come late; may be set.
        gain: step of the control, in units of the errors' spread.
    """

    def __init__(self, families: Sequence[Errors], rate: float, gain: float) -> None:
        self.rate = rate
        self.made = self.late = 0
        self.reaches = [(errors.quantile(1 - rate) - errors.high) / errors.spread for errors in families]
        self._gain = gain
        self._caution = 0.0
        self._was_made = False  # to the frame under way

    def made_one(self, late: bool) -> None:
        """Count a promise that was made, and whether it was late."""
        self.made += 1
        self.late += late
        self._caution += CAUTION_GAIN * ((1.0 if late else 0.0) - self.rate)
        self._was_made = True

    def next_frame(self) -> None:
        """A frame has ended, with a promise or without."""
        if not self._was_made:
            self._caution *= CALM
        self._was_made = False

    def reached(self, stages: int, late: bool) -> None:
        """A frame reached that depth, later than it would have been promised or not."""
        self.reaches[stages] += self._gain * ((1.0 if late else 0.0) - self.rate)

    def margins(self, family: Sequence[Errors], *, caution: bool = True) -> list[float]:
        """The logarithms of the factors on the forecast at which paths are promised."""
        more = self._caution if caution else 0.0
        return [e.high + (reach + more) * e.spread for e, reach in zip(family, self.reaches, strict=True)]
