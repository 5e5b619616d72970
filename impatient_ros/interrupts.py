"""Ctrl-C while a program imports what it needs, which takes seconds: it ends at once and says nothing."""

import os
import signal
import sys
from itertools import pairwise

__all__ = ['INTERRUPTED', 'end_quietly_while_importing', 'interrupt_as_usual', 'starts_as_module']

INTERRUPTED = 130  # the exit code, as shells have it: 128 + SIGINT


def starts_as_module(package: str) -> bool:
    """Whether `package`, which is being imported, is so as the start of `python -m PACKAGE.MODULE`."""
    if sys.argv[:1] != ['-m']:  # what it is until the module was found
        return False
    for option, following in pairwise(sys.orig_argv):
        if option.startswith('-') and 'm' in option:  # -m MODULE, -mMODULE, -um MODULE
            module = option.partition('m')[2] or following
            return module.partition('.')[0] == package
    return False


def end_quietly_while_importing() -> None:
    """From now on SIGINT ends the process; for the main thread. Where it is ignored, it stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Nothing has been begun. An exception might be caught by whoever imports.
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))


def interrupt_as_usual() -> None:
    """From now on SIGINT raises KeyboardInterrupt, unless it was ignored; for the main thread."""
    if callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, signal.default_int_handler)
