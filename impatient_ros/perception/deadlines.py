"""By when a frame must be answered. Pure: instants come in, nothing here reads a clock or knows ROS.

Instants are whole nanoseconds of the node's ROS clock, as in the messages: a float of seconds since 1970
resolves 0.2 us only. Durations are seconds.

    fixed         stamp + budget.fixed
    control_loop  the last tick (control_phase + k * control_period) at which the frame is at most age_limit
                  old; one that is past before the frame is picked up makes it infeasible: a negative budget
    topic         the stamp announced last for this camera or for all, until it passes; with none ahead, fixed

A stamp of zero, one more than 10 ms in the future and one older than budget.stale_after are faults of the
input: the time of arrival stands in for them. After the ROS clock jumped back (a restarted simulation) call
`reset`: what was announced before belongs to another time. Frames from before the jump need nothing: stamped
in the future, they count from their arrival.
"""

import threading
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from impatient_ros.perception.settings import BudgetParameters

__all__ = ['FUTURE_TOLERANCE', 'Deadline', 'Deadlines', 'last_tick', 'stamp_fault']

FUTURE_TOLERANCE = 10_000_000  # ns: what clocks of two synchronised machines may differ by


@dataclass(frozen=True)
class Deadline:
    """A frame's deadline and how it came about."""

    at: int  # ns
    reference: int  # ns: the stamp, or the time of arrival where that was faulty
    source: str  # the rule that gave it: fixed, control_loop or topic
    stamp_fault: str | None = None  # zero_stamp, future_stamp or stale_stamp
    fallback: bool = False  # source topic, but no announced deadline lies ahead

    @property
    def fault(self) -> str | None:
        """What to report of the input; a faulty stamp before a missing deadline (no_deadline)."""
        return self.stamp_fault or ('no_deadline' if self.fallback else None)

    def budget(self, now: int) -> float:
        """Seconds from `now` to the deadline; negative when it has passed."""
        return (self.at - now) * 1e-9


class Deadlines:
    """The deadlines of the frames of one node; keeps what the deadline topics announced. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By camera (None: all cameras) the stamp announced last; the order is that of the announcements.
        self._announced: dict[str | None, int] = {}

    def announce(self, stamp: int, camera: str | None = None) -> None:
        """A deadline topic's message: the next deadline of `camera`, or of all.

        It replaces the topic's one before; a stamp in the past (zero, for instance) takes that one back.
        """
        with self._lock:
            self._announced.pop(camera, None)
            self._announced[camera] = stamp

    def announced(self, camera: str, now: int) -> int | None:
        """The latest announcement for `camera` or for all that still lies ahead of `now`, in ns."""
        with self._lock:
            stamps = [stamp for key, stamp in self._announced.items() if key in (camera, None)]
        return next((stamp for stamp in reversed(stamps) if stamp > now), None)

    def reset(self) -> None:
        """Forget all announcements; for when the ROS clock jumped back."""
        with self._lock:
            self._announced.clear()

    def of(
        self, camera: str, stamp: int, arrival: int, budget: BudgetParameters, now: int | None = None
    ) -> Deadline:
        """The deadline of a frame stamped and arrived then, as it stands at `now` (default: at its arrival).

        Ask again for the frame under way whenever a deadline is announced or a parameter changes.
        """
        fault = stamp_fault(stamp, arrival, budget.stale_after)
        reference = arrival if fault else stamp
        source, fallback = budget.source, False
        if source == 'topic':
            announced = self.announced(camera, arrival if now is None else now)
            if announced is not None:
                return Deadline(announced, reference, source, fault)
            source, fallback = 'fixed', True
        if source == 'control_loop':
            at = last_tick(reference, budget)
        else:
            at = reference + _nanoseconds(budget.fixed)
        return Deadline(at, reference, source, fault, fallback)


def stamp_fault(stamp: int, arrival: int, stale_after: float) -> str | None:
    """What is wrong with a frame's stamp (ns) when it arrives (ns), if anything."""
    if stamp <= 0:
        return 'zero_stamp'
    if stamp - arrival > FUTURE_TOLERANCE:
        return 'future_stamp'
    if arrival - stamp > _nanoseconds(stale_after):
        return 'stale_stamp'
    return None


def last_tick(reference: int, budget: BudgetParameters) -> int:
    """The last tick of the control loop (ns) at which a frame from `reference` (ns) is at most age_limit old.

    It lies before `reference` where age_limit is shorter than the period and no tick falls into it.
    """
    phase = _nanoseconds(budget.control_phase)
    numerator, denominator = _exact(budget.control_period)  # of ns; whole numbers stay exact
    count = (reference + _nanoseconds(budget.age_limit) - phase) * denominator // numerator
    return phase + count * numerator // denominator


@lru_cache(maxsize=64)
def _exact(seconds: float) -> tuple[int, int]:
    """The nanoseconds of the decimal number that people wrote, as a ratio: 0.1 s is 100,000,000 ns exactly.

    At 10 Hz there have been 1.7e10 ticks since 1970: the float's error adds up to 94 ns, which moves a tick
    past a frame that is stamped on one, and a period rounded to nanoseconds (a thirtieth) drifts by 17 s.
    """
    return (Fraction(Decimal(repr(float(seconds)))) * 1_000_000_000).as_integer_ratio()


@lru_cache(maxsize=256)
def _nanoseconds(seconds: float) -> int:
    numerator, denominator = _exact(seconds)
    return round(Fraction(numerator, denominator))
