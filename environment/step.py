"""Runs one long command: its output goes to a log, its progress and its failure to the terminal."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ['StepFailed', 'run_step']

# Seconds between two progress lines: on a terminal the line is rewritten, in a file one is added.
TERMINAL_PERIOD, FILE_PERIOD = 0.5, 30.0
# Lines, and characters of each, that are shown of a failed command's output.
TAIL, WIDTH = 20, 200
# Lines of pip and of this machine's configuration that say nothing about the failure.
IGNORED = (
    'WARNING: Location ',
    'Looking in ',
    'Requirement already satisfied',
    'Attempting uninstall',
    'Found existing installation',
    'Uninstalling ',
    'Successfully uninstalled',
)


class StepFailed(RuntimeError):
    """A command of the set-up failed; the text names it and shows the end of its output."""


def run_step(what: str, command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None) -> None:
    """Runs `command`, its output added to `log`, its progress under the name `what`.

    Raises StepFailed if it fails, with the command and the log's last lines. A KeyboardInterrupt ends it too.
    """
    start = time.monotonic()
    with open(log, 'ab') as output:
        output.write(f'\n$ {" ".join(command)}\n'.encode())
        output.flush()
        begin = output.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environ
        )
        try:
            _watch(what, process, log, begin, start)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        tail = '\n'.join('    ' + line[:WIDTH] for line in _lines(log, begin)[-TAIL:])
        shown = ' '.join(command)[:WIDTH]
        raise StepFailed(
            f'{what} failed (exit code {process.returncode}). The command was\n    {shown}\n'
            f'and its output ends with\n{tail}\nAll of it is in {log}.'
        )
    _say(f'  {what}: {time.monotonic() - start:.0f} s', final=True)


def _watch(what: str, process: subprocess.Popen, log: Path, begin: int, start: float) -> None:
    period = TERMINAL_PERIOD if sys.stdout.isatty() else FILE_PERIOD
    while True:
        try:
            process.wait(period)
            return
        except subprocess.TimeoutExpired:
            lines = _lines(log, begin)
            latest = lines[-1].strip() if lines else ''
            _say(f'  {what}: {time.monotonic() - start:.0f} s ... {latest}')


def _lines(log: Path, begin: int) -> list[str]:
    with open(log, 'rb') as file:
        file.seek(begin)
        text = file.read().decode(errors='replace')
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(IGNORED)]


def _say(text: str, *, final: bool = False) -> None:
    if not sys.stdout.isatty():
        print(text[:WIDTH], flush=True)
        return
    width = os.get_terminal_size().columns
    print('\r\x1b[K' + text[: width - 1], end='\n' if final else '', flush=True)
