"""What an endurance run measures: a process's memory, threads and files, and misses with their error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

__all__ = ['MissRate', 'Resources', 'differ', 'growth', 'miss_rate', 'resources_of']

BLOCK = 10  # frames; misses come in bursts, so that their share's error is that of blocks
# Standard errors between two miss rates that agree: beyond it by chance in 1 of 370 comparisons.
AGREE = 3.0


@dataclass(frozen=True)
class Resources:
    """Of one process; bytes. `pss` shares what several processes map among them."""

    time: float
    rss: int
    pss: int
    private: int
    threads: int
    files: int

    def as_values(self) -> dict[str, float]:
        return asdict(self)


def resources_of(pid: int, now: float) -> Resources:
    folder = Path(f'/proc/{pid}')
    sizes: dict[str, int] = {}
    for line in (folder / 'smaps_rollup').read_text().splitlines()[1:]:
        name, size, *_ = line.split()
        sizes[name.rstrip(':')] = int(size) * 1024
    return Resources(
        time=now,
        rss=sizes['Rss'],
        pss=sizes['Pss'],
        private=sizes['Private_Clean'] + sizes['Private_Dirty'],
        threads=len(list((folder / 'task').iterdir())),
        files=len(list((folder / 'fd').iterdir())),
    )


def growth(times: Sequence[float], sizes: Sequence[float]) -> tuple[float, float]:
    """Theil and Sen's slope (the median over all pairs), per unit of time, and the same times the span.

    Needs two values; with fewer both are 0. One outlier, a picture that was just being decoded, does not
    move it.
    """
    slopes = [
        (sizes[j] - sizes[i]) / (times[j] - times[i])
        for i in range(len(times))
        for j in range(i + 1, len(times))
        if times[j] > times[i]
    ]
    if not slopes:
        return 0.0, 0.0
    slope = float(np.median(slopes))
    return slope, slope * (times[-1] - times[0])


@dataclass(frozen=True)
class MissRate:
    """Misses among tried frames, and the standard error of their share."""

    misses: int
    tried: int
    error: float

    @property
    def rate(self) -> float:
        return self.misses / self.tried if self.tried else 0.0


def miss_rate(outcomes: Sequence[str]) -> MissRate:
    """Of the outcomes of frames in the order in which they ended."""
    misses = [
        outcome in ('late', 'missed') for outcome in outcomes if outcome in ('answered', 'late', 'missed')
    ]
    edges = range(0, len(misses) + 1, BLOCK)
    shares = [float(np.mean(misses[start:end])) for start, end in pairwise(edges)]
    count = len(misses)
    # Also where no block has a miss: by the rule of three a rate of up to 3 / n would show none.
    floor = 1 / max(count, 1)
    blocks = float(np.std(shares, ddof=1)) / math.sqrt(len(shares)) if len(shares) > 1 else 0.0
    share = sum(misses) / max(count, 1)
    binomial = math.sqrt(share * (1 - share) / max(count, 1))
    return MissRate(sum(misses), count, max(floor, blocks, binomial))


def differ(before: MissRate, after: MissRate) -> bool:
    """Whether the difference is more than chance."""
    return abs(before.rate - after.rate) > AGREE * math.hypot(before.error, after.error)
