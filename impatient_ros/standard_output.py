"""Commands that end quietly: when their output loses its reader (`command | head -1`), and on Ctrl-C."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import NoReturn

from impatient_ros.interrupts import INTERRUPTED, interrupt_as_usual

__all__ = ['discard_standard_output', 'run_command']


def run_command(main: Callable[[], int]) -> NoReturn:
    """End the process with the exit code of `main`; quietly with 0 where nobody reads its output any more,
    and with 130 on a Ctrl-C that `main` does not handle.
    """
    code: int | str | None = 0
    interrupt_as_usual()
    try:
        try:
            code = main()
        except SystemExit as end:  # argparse's, after --help or a wrong option
            code = end.code
        except KeyboardInterrupt:
            code = INTERRUPTED
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
