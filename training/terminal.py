"""What a training shows to people at a terminal: one console for the log, the summary and the progress bars.

Elsewhere (a file, a pipe, all processes of a distributed training but the first) there are no bars, and the
log has plain lines.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from os import cpu_count
from typing import TypeVar

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ['CONSOLE', 'in_parallel', 'progress_bar', 'start_log']

Item = TypeVar('Item')
Result = TypeVar('Result')

# Standard error, so that results can be piped; its width and kind are looked at every time.
CONSOLE = Console(stderr=True)
AHEAD = 256  # items: bounds what waits in memory at full size
REDRAWN = 0.1  # s
SPEED_OVER = 600.0  # s: the time left is to average over training and validation


def start_log() -> None:
    """Log lines go above the bars, and without a terminal to standard error."""
    if CONSOLE.is_terminal:
        handler = RichHandler(
            console=CONSOLE,
            show_path=False,
            show_level=False,
            omit_repeated_times=False,
            log_time_format='%X',
            highlighter=NullHighlighter(),
        )
        logging.basicConfig(level=logging.INFO, format='%(message)s', handlers=[handler])
    else:
        logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', datefmt='%H:%M:%S')


class _Bar(Progress):
    """Is drawn when something was done, not by a thread: loaders fork, with a lock that it may hold."""

    _drawn = 0.0

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        if time.monotonic() - self._drawn > REDRAWN:
            self._drawn = time.monotonic()
            self.refresh()


def progress_bar() -> Progress:
    """A bar with how much is done and the time left, a context manager; nothing where nobody would see it."""
    return _Bar(
        TextColumn('{task.description}'),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn('left'),
        console=CONSOLE,
        transient=True,
        auto_refresh=False,
        expand=True,
        speed_estimate_period=SPEED_OVER,
        disable=not CONSOLE.is_terminal or bool(rank_zero_only.rank),
    )


def in_parallel(
    items: Iterable[Item], work: Callable[[Item], Result], *, what: str, total: int | None = None
) -> Iterator[tuple[Item, Result]]:
    """Each of `items` with what `work` makes of it, in their order, several at a time, behind a bar."""
    remaining = iter(items)
    with progress_bar() as bar, ThreadPoolExecutor(max(1, cpu_count() or 1)) as pool:
        task = bar.add_task(what, total=total)
        while batch := list(islice(remaining, AHEAD)):
            for done in zip(batch, pool.map(work, batch), strict=True):
                yield done
                bar.advance(task)
