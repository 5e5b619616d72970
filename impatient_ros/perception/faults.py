"""Errors of the node's own that it survives, and requests that it refuses: counted, and logged once.

Whatever a thread of the node does for one frame, message or request may fail; the next one gets its chance.
Only a thread whose every step fails is given up, and with it the process, so that whoever started it can
start it again.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ['FaultCounts', 'Faults']

# Failures of a thread in a row after which it is given up. Chosen, not measured: what fails so often without
# having done anything in between will not recover.
ENDURED = 10
SHOWN = 10.0  # seconds for which an error is shown as recent; as long as the statistics' window
SAID_EVERY = 1.0  # seconds between two log lines about refused requests; all are counted
KINDS = 1000  # of errors whose traceback is logged: far more than there are
LONGEST_REASON = 500  # characters of a reason in the log: a request can be megabytes long

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FaultCounts:
    """Since the last reset."""

    errors: Mapping[str, int] = field(default_factory=dict)  # survived, by where they happened
    recent: str = ''  # the latest one, while it is recent
    refused: int = 0  # requests


class Faults:
    """Counts and logs; thread-safe.

    Args:
        give_up: called, once, when a thread cannot be kept alive.
        now: steady clock, seconds.

    Attributes:
        gave_up: whether a thread was given up.
    """

    def __init__(
        self, give_up: Callable[[], None] = lambda: None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._give_up = give_up
        self._now = now
        self._lock = threading.Lock()
        self._told: set[tuple[object, ...]] = set()  # errors whose traceback is in the log
        self._errors: Counter[str] = Counter()
        self._latest, self._latest_at = '', 0.0
        self._refused = self._unsaid = 0
        self._said_at: float | None = None
        self.gave_up = False

    def survived(self, where: str, error: BaseException, text: str = '') -> None:
        """An error was caught. The log has the traceback of the first one that took the same way.

        Args:
            where: what was being done, from a small set: it is counted by that.
            text: what that means for people.
        """
        steps = traceback.walk_tb(error.__traceback__)
        kind = (where, type(error), *((frame.f_code, line) for frame, line in steps))
        with self._lock:
            self._errors[where] += 1
            self._latest, self._latest_at = f'{where}: {error!r}'[:LONGEST_REASON], self._now()
            new = kind not in self._told and len(self._told) < KINDS
            if new:
                self._told.add(kind)
        if new:
            _log.error('%s: %s', where, text or 'an error, this should not happen', exc_info=error)

    def refused(self, what: str, reason: str) -> None:
        """A request was refused."""
        with self._lock:
            now = self._now()
            self._refused += 1
            if self._said_at is not None and now - self._said_at < SAID_EVERY:
                self._unsaid += 1
                return
            unsaid, self._unsaid, self._said_at = self._unsaid, 0, now
        more = f' (and {unsaid} more refused before)' if unsaid else ''
        _log.warning('%s refused: %s%s', what, reason[:LONGEST_REASON], more)

    def counts(self) -> FaultCounts:
        """What there was so far."""
        with self._lock:
            recent = self._latest if self._now() - self._latest_at < SHOWN else ''
            return FaultCounts(dict(self._errors), recent, self._refused)

    def reset(self) -> None:
        """Forget the counts; what is in the log is not logged again."""
        with self._lock:
            self._errors.clear()
            self._latest, self._refused = '', 0

    def guarded(self, where: str, function: Callable[..., None]) -> Callable[..., None]:
        """`function`, for callers that must not see it fail."""

        def call(*arguments: object) -> None:
            try:
                function(*arguments)
            except Exception as error:  # noqa: BLE001
                self.survived(where, error)

        return call

    def keep_running(self, step: Callable[[], bool], where: str) -> bool:
        """A thread's loop: call `step` until it says False. Returns False where the thread was given up."""
        failures = 0
        while True:
            try:
                if not step():
                    return True
                failures = 0
            except Exception as error:  # noqa: BLE001
                self.survived(where, error)
                failures += 1
                if failures >= ENDURED:
                    self.abandon(where)
                    return False

    def abandon(self, where: str) -> None:
        """A thread cannot be kept alive: the node ends."""
        _log.critical('%s cannot go on: the node ends', where)
        with self._lock:
            first, self.gave_up = not self.gave_up, True
        if first:
            self._give_up()
