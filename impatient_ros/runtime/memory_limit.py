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
    prepare: Callable[[tuple[int, ...]], None],
    *,
    before: float,
    memory: Callable[[], float] = process_memory,
) -> tuple[int, ...]:
    """Prepare resolutions, with a limit one after the other while memory lasts.

    Returns those that are prepared then, ascending, always at least one.

    Args:
        limit: MiB that this process may grow by; 0: none.
        sides: the resolutions, px.
        prepare: compiles exactly these, ascending, instead of those it was given before, and executes them,
            so that everything is allocated.
        before: what `memory` said before anything was allocated for the network.
        memory: MiB that the process takes.
    """
    everything = tuple(sorted(sides))
    if not limit:
        prepare(everything)
        _return_memory()
        return everything
    kept: tuple[int, ...] = ()
    prepared = kept
    dropped: list[str] = []
    for side in _spread(everything):
        prepared = tuple(sorted((*kept, side)))
        prepare(prepared)
        _return_memory()
        grown = memory() - before
        if grown <= limit:
            kept = prepared
        elif not kept:
            kept = prepared
            _log.warning('%d px alone takes %.0f MiB, more than memory_limit %g', side, grown, limit)
        else:
            dropped.append(f'{side} px ({grown:.0f} MiB with it)')
    if prepared != kept:
        prepare(kept)
        _return_memory()
    if dropped:
        _log.warning('left out by memory_limit %g MiB: %s', limit, ', '.join(dropped))
    return kept


def _spread(sides: tuple[int, ...]) -> Iterator[int]:
    """The smallest, the largest, and then in turn that which is farthest from those before."""
    if not sides:
        return
    done = [sides[0], sides[-1]]
    yield from dict.fromkeys(done)
    rest = list(sides[1:-1])
    while rest:
        side = max(rest, key=lambda each: min(abs(each - other) for other in done))
        rest.remove(side)
        done.append(side)
        yield side


def _return_memory() -> None:
    """Give freed memory back to the system: compiling takes much that is not needed afterwards (30 MB of 215
    for the default model), and what the allocator keeps would count for the next resolution.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # no glibc
        ctypes.CDLL('libc.so.6').malloc_trim(0)
