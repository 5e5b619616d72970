"""Which of several runtimes and precisions is the fastest here: measured once, then remembered."""

from __future__ import annotations

import json
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from impatient_ros.cache import CacheFile, cache_file
from impatient_ros.runtime.base import Runtime, RuntimeUnavailableError
from impatient_ros.runtime.machine import processor_name, usable_cores
from impatient_ros.runtime.paired_runs import take_turns

__all__ = ['faster', 'remembered']

# A later choice must take less than this share of the time of the fastest before it. Chosen, not measured:
# both take turns on a machine that does other things, and ratios of one that is as fast came out within 3 %.
WORTH = 0.95
KEPT = 64  # choices of a kind in the cache, one per model and number of threads

_log = logging.getLogger(__name__)


def remembered(
    kind: str,
    names: Iterable[str],
    digest: str | None,
    threads: int = 0,
    precisions: Sequence[str] = ('f32',),
) -> CacheFile:
    """Where a choice is kept that was measured on runtimes that are named as their packages.

    Its key is what their descriptions say that can be known before they are made: versions, processor, cores.

    Args:
        kind: what was chosen; names the folder.
        names: the runtimes.
        digest: of the weights; None: nothing is kept.
        threads: that were asked for.
        precisions: that are computed in.
    """
    if digest is None:
        return CacheFile(None, KEPT)
    key = {
        'model': digest,
        'threads': threads,
        'precisions': [*precisions],
        'versions': {name: _version(name) for name in names},
        'processor': processor_name(),
        'cores': [os.cpu_count(), usable_cores()],
    }
    return cache_file(kind, key, suffix='.json', keep=KEPT)


def faster(
    makers: Mapping[str, Callable[[], Runtime]],
    shapes: Iterable[tuple[int, ...]],
    file: CacheFile,
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Runtime:
    """The first of several runtimes, or a later one where that is clearly faster or the choice in `file`.

    Each is measured against the fastest before it, on the last exit at the largest resolution that both
    execute. A later one that cannot be made is logged; the next call tries it again, and measures only where
    that works. Raises what making the first one raises.

    Args:
        makers: names, and what makes them.
        shapes: of an image (3, H, W) at each resolution.
        file: the choice is read from it, or written into it.
    """
    shapes = list(shapes)
    first, *others = makers
    known, broken = file.read(_parse) or ('', [])
    failed: set[str] = set()
    retried = [_made(name, makers[name], known, failed) for name in broken if name in others]
    if known in makers and not any(retried):
        found = makers[first]() if known == first else _made(known, makers[known], first, failed)
        if found is not None:
            return found
    chosen, best, ratios = first, makers[first](), {}
    for name in others:
        other = None if name in failed else _made(name, makers[name], chosen, failed)
        if other is None:
            continue
        shape = [each for each in shapes if each[1] in best.sides and each[1] in other.sides][-1]
        took = take_turns(_last_exit(best, shape), _last_exit(other, shape), clock=clock, sleep=sleep)
        ratio = statistics.median(b / a for a, b in zip(*took, strict=True))
        faster_one = name if ratio < WORTH else chosen
        _log.info('%s takes %.2f times as long as %s: %s is used', name, ratio, chosen, faster_one)
        ratios[f'{name} / {chosen}'] = round(ratio, 3)
        if faster_one == name:
            chosen, best = name, other
    file.write(json.dumps({'runtime': chosen, 'ratios': ratios, 'failed': sorted(failed)}).encode())
    return best


def _parse(content: bytes) -> tuple[str, list[str]]:
    """What was chosen, and what could not be made then."""
    found = json.loads(content)
    return str(found['runtime']), [str(each) for each in found['failed']]


def _made(name: str, make: Callable[[], Runtime], instead: str, failed: set[str]) -> Runtime | None:
    try:
        return make()
    except RuntimeUnavailableError as error:
        _log.warning('%s is used, since %s', instead, error)
        failed.add(name)
        return None


def _last_exit(runtime: Runtime, shape: tuple[int, ...]) -> Callable[[], object]:
    image = np.zeros((1, *shape), np.float32)

    def frame() -> None:
        run = runtime.start(image)
        while run.position < runtime.exits:
            run.stage(runtime.exits - 1)
        run.exit()

    frame()  # the first one allocates
    return frame


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # installed by something else than pip
        return ''
