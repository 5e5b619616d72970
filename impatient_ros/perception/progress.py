"""Progress of long work as log lines, not more often than people can read."""

import time
from collections.abc import Callable

__all__ = ['throttled']


def throttled(
    say: Callable[[str], None], period: float = 1.0, now: Callable[[], float] = time.monotonic
) -> Callable[[float, str], None]:
    """A function to be called with the share done (0..1) and a text; it says the first, the last, and those
    `period` seconds apart.
    """
    last: float | None = None

    def report(share: float, text: str) -> None:
        nonlocal last
        moment = now()
        if share >= 1.0 or last is None or moment - last >= period:
            last = moment
            say(f'{share:4.0%} {text}')

    return report
