"""Which resolutions are prepared where the memory for them is limited."""

from __future__ import annotations

import ctypes
import gc
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from impatient_ros.runtime.machine import process_memory

__all__ = ['prepare_within']

_log = logging.getLogger(__name__)


def prepare_within(
    limit: float,
    sides: Iterable[int],
    prepare: Callable[[int], None],
    drop: Callable[[int], None],
    *,
    before: float,
    memory: Callable[[], float] = process_memory,
) -> tuple[int, ...]:
    """Prepare resolutions while memory lasts; returns those that stay, ascending, always at least one.

    Args:
        limit: MiB that this process may grow by; 0: none.
        sides: the resolutions, px.
        prepare: compiles one and executes it, so that everything is allocated.
        drop: undoes that.
        before: what `memory` said before anything was allocated for the network.
        memory: MiB that the process takes.
    """
    kept: list[int] = []
    dropped: list[str] = []
    for side in _spread(sorted(sides)):
        prepare(side)
        grown = memory() - before
        if not limit or grown <= limit:
            kept.append(side)
        elif not kept:
            kept.append(side)
            _log.warning('%d px alone takes %.0f MiB, more than memory_limit %g', side, grown, limit)
        else:
            drop(side)
            _return_memory()
            dropped.append(f'{side} px ({grown:.0f} MiB with it)')
    _return_memory()
    if dropped:
        _log.warning('left out by memory_limit %g MiB: %s', limit, ', '.join(dropped))
    return tuple(sorted(kept))


def _spread(sides: list[int]) -> Iterator[int]:
    """The smallest, the largest, and then in turn that which is farthest from those before."""
    if not sides:
        return
    done = [sides[0], sides[-1]]
    yield from dict.fromkeys(done)
    rest = sides[1:-1]
    while rest:
        side = max(rest, key=lambda each: min(abs(each - other) for other in done))
        rest.remove(side)
        done.append(side)
        yield side


def _return_memory() -> None:
    """Give freed memory back to the system: compiling takes much that is not needed afterwards (20 MB of 330
    for the default model), and what the allocator keeps would count for the next resolution.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # no glibc
        ctypes.CDLL('libc.so.6').malloc_trim(0)
