"""Runs a command, shows what it prints as it comes, and ends it in time."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ['Ended', 'run']

KEPT = 400  # lines
GRACE = 10.0  # s between being asked to end and being ended


@dataclass(frozen=True)
class Ended:
    """How a command ended: `code` is None where its time ran out, `output` the last lines that it printed."""

    code: int | None
    output: str
    seconds: float


def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], limit: float, show: bool = True
) -> Ended:
    """Both streams of the command go to standard output, line by line; after `limit` seconds it is ended."""
    began = time.monotonic()
    lines: deque[str] = deque(maxlen=KEPT)
    late, ended = threading.Event(), threading.Event()
    # A session of its own: what it starts ends with it.
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors='replace', start_new_session=True,
    )  # fmt: skip

    def end() -> None:
        late.set()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                return
            if ended.wait(GRACE):
                return

    timer = threading.Timer(max(limit, 0.0), end)
    timer.daemon = True
    timer.start()
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.append(line)
            if show:
                print(line, end='', flush=True)
    ended.set()
    timer.cancel()
    code = process.wait()
    return Ended(None if late.is_set() else code, ''.join(lines), time.monotonic() - began)
