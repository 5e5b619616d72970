"""By when a frame must be answered. Nothing here reads a clock: instants come in.

Instants are whole nanoseconds of the node's ROS clock, as in the messages: a float of seconds since 1970
resolves 0.2 us only. Durations are seconds.

A stamp of zero, one more than 10 ms in the future (with simulated time: more than one step of /clock) and one
older than budget.stale_after are faults of the input: the time of arrival stands in for them. After the ROS
clock jumped back (a restarted simulation) call `reset`: what was announced before belongs to another time.
Frames from before the jump need nothing: stamped in the future, they count from their arrival.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from statistics import median_high
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from impatient_ros.perception.settings import BudgetParameters

__all__ = ['BUDGET_SOURCES', 'FUTURE_TOLERANCE_NS', 'Deadline', 'Deadlines', 'last_tick', 'stamp_fault']

# What synchronised clocks of two machines may differ by: chrony and ptp on a robot's network stay well below.
FUTURE_TOLERANCE_NS = 10_000_000
CLOCK_STEPS = 9  # of simulated time; their median is its period. Chosen: at 10 Hz they are there within 1 s

Announced = Callable[[], int | None]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A frame's deadline and what was wrong with the input that it came from."""

    at_ns: int
    stamp_fault: str | None = None  # zero_stamp, future_stamp or stale_stamp
    fallback: bool = False  # the source gave none (no announcement lies ahead): budget.fixed stands in

    @property
    def fault(self) -> str | None:
        """What to report of the input; a faulty stamp before a missing deadline (no_deadline)."""
        return self.stamp_fault or ('no_deadline' if self.fallback else None)

    def budget(self, now_ns: int) -> float:
        """Seconds from `now_ns` to the deadline; negative when it has passed."""
        return (self.at_ns - now_ns) * 1e-9


class Deadlines:
    """The deadlines of the frames of one node; keeps what the deadline topics announced. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: deque[int] = deque(maxlen=CLOCK_STEPS)
        # By camera (None: all cameras) the stamp announced last; the order is that of the announcements.
        self._announced: dict[str | None, int] = {}

    def announce(self, stamp_ns: int, camera: str | None = None) -> None:
        """A deadline topic's message: the next deadline of `camera`, or of all.

        It replaces the topic's one before; a stamp in the past (zero, for instance) takes that one back.
        """
        with self._lock:
            self._announced.pop(camera, None)
            self._announced[camera] = stamp_ns

    def reset(self) -> None:
        """Forget all announcements and the clock's steps; for when the ROS clock jumped back."""
        with self._lock:
            self._announced.clear()
            self._steps.clear()

    def clock_advanced(self, step_ns: int) -> None:
        """Simulated time went on by that much at once: a stamp may be up to such a step ahead."""
        with self._lock:
            self._steps.append(step_ns)

    def of(
        self, camera: str, stamp_ns: int, arrival_ns: int, budget: BudgetParameters, now_ns: int
    ) -> Deadline:
        """The deadline of a frame stamped and arrived then, as it stands at `now_ns`.

        Ask again whenever a deadline is announced, and for a waiting frame when a parameter changes.
        """
        fault = stamp_fault(stamp_ns, arrival_ns, budget.stale_after, self._ahead_tolerated())
        reference_ns = arrival_ns if fault else stamp_ns
        at_ns = BUDGET_SOURCES[budget.source](reference_ns, budget, lambda: self._ahead(camera, now_ns))
        if at_ns is None:
            return Deadline(_fixed(reference_ns, budget), fault, fallback=True)
        return Deadline(at_ns, fault)

    def _ahead_tolerated(self) -> int:
        with self._lock:
            # The median: the first step leads from 0 to the simulation, a lost message doubles one.
            step_ns = median_high(self._steps) if len(self._steps) == CLOCK_STEPS else 0
        return max(FUTURE_TOLERANCE_NS, step_ns)

    def _ahead(self, camera: str, now_ns: int) -> int | None:
        """The latest announcement for `camera` or for all that still lies ahead, in ns."""
        with self._lock:
            stamps = [stamp for key, stamp in self._announced.items() if key in (camera, None)]
        return next((stamp for stamp in reversed(stamps) if stamp > now_ns), None)


def stamp_fault(
    stamp_ns: int, arrival_ns: int, stale_after: float, ahead_ns: int = FUTURE_TOLERANCE_NS
) -> str | None:
    """What is wrong with a frame's stamp when it arrives, if anything.

    `stale_after` is seconds; `ahead_ns` is how far ahead of the clock a stamp may be.
    """
    if stamp_ns <= 0:
        return 'zero_stamp'
    if stamp_ns - arrival_ns > ahead_ns:
        return 'future_stamp'
    if arrival_ns - stamp_ns > _nanoseconds(stale_after):
        return 'stale_stamp'
    return None


def last_tick(reference_ns: int, budget: BudgetParameters) -> int:
    """The last tick of the control loop (ns) at which a frame from `reference_ns` is at most age_limit old.

    It lies before `reference_ns` where age_limit is shorter than the period and no tick falls into it.
    """
    phase = _nanoseconds(budget.control_phase)
    numerator, denominator = _exact(budget.control_period)  # of ns; whole numbers stay exact
    count = (reference_ns + _nanoseconds(budget.age_limit) - phase) * denominator // numerator
    return phase + count * numerator // denominator


def _fixed(reference_ns: int, budget: BudgetParameters) -> int:
    return reference_ns + _nanoseconds(budget.fixed)


# The values of the parameter budget.source: each is a function of the frame's reference (its stamp, or its
# arrival where the stamp is faulty), the budget's parameters and the announcement that lies ahead. It returns
# the deadline in ns; None: there is none, budget.fixed stands in. A deadline that is past before the frame is
# picked up makes the frame infeasible.
BUDGET_SOURCES: Mapping[str, Callable[[int, BudgetParameters, Announced], int | None]] = MappingProxyType(
    {
        'fixed': lambda reference_ns, budget, announced: _fixed(reference_ns, budget),
        'control_loop': lambda reference_ns, budget, announced: last_tick(reference_ns, budget),
        'topic': lambda reference_ns, budget, announced: announced(),
    }
)


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
