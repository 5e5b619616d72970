"""Commands whose standard output may lose its reader, as in `command | head -1`."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import NoReturn

__all__ = ['discard_standard_output', 'run_command']


def run_command(main: Callable[[], int]) -> NoReturn:
    """End the process with the exit code of `main`; quietly with 0 where nobody reads its output any more."""
    code: int | str | None = 0
    try:
        try:
            code = main()
        except SystemExit as end:  # argparse's, after --help or a wrong option
            code = end.code
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_has_gone():
            raise
        discard_standard_output()
    sys.exit(code)


def discard_standard_output() -> None:
    """Send standard output nowhere from now on, what stands in its buffer included.

    Without it the interpreter tries to flush that buffer at the end, and fails once more.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _reader_has_gone() -> bool:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
