"""What a call costs, in numbers that do not depend on how busy the machine is."""

import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

__all__ = ['Work', 'counted']


@dataclass
class Work:
    """Calls of functions, Python's and C's, and the most memory that was held at a time."""

    calls: int = 0
    peak_bytes: int = 0


@contextmanager
def counted() -> Iterator[Work]:
    """Count the block's work in this thread. Not to be nested."""
    work = Work()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event in ('call', 'c_call'):
            work.calls += 1

    before = sys.getprofile()
    tracemalloc.start()
    start = tracemalloc.get_traced_memory()[0]
    sys.setprofile(count)
    try:
        yield work
    finally:
        sys.setprofile(before)
        work.peak_bytes = tracemalloc.get_traced_memory()[1] - start
        tracemalloc.stop()
