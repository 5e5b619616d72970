"""Two processes taking turns, so that drift of the machine meets both alike."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PAUSE = 0.06  # seconds between two turns: threads of the other process that still spin come to rest
# Seconds at the beginning of a turn that do not count, at least one run: threads wake up, caches fill.
WARM = 0.008
MEASURED = 0.02  # seconds that a turn measures, at least


class Peer:
    """A running `peer.py`; the first turn needs `wait`."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, str(Path(__file__).with_name('peer.py')), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._name = ' '.join(arguments)

    def wait(self) -> None:
        """Return when it is ready for its first turn. Raises RuntimeError."""
        if self._line() != 'ready':
            raise RuntimeError(f'the peer {self._name} did not start')

    def turn(self, case: str, count: int) -> list[float]:
        """Durations of `count` runs, seconds."""
        assert self._process.stdin is not None
        try:
            print(case, count, file=self._process.stdin, flush=True)
            return json.loads(self._line())
        except (BrokenPipeError, ValueError) as error:
            raise RuntimeError(f'the peer {self._name} ended') from error

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it crashed
            self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def timed(run: Callable[[], object], count: int) -> list[float]:
    """Durations of `count` runs in this process, seconds."""
    durations = []
    for _ in range(count):
        begin = time.perf_counter()
        run()
        durations.append(time.perf_counter() - begin)
    return durations


def take_turns(
    cases: Mapping[str, Callable[[int], Sequence[Any]]], *, rounds: int, time_limit: float, runs: int = 4
) -> dict[str, np.ndarray]:
    """Each case's durations [rounds, runs], one turn of every case per round.

    Short cases get more than `runs` runs. At least three rounds are made, then no round starts after
    `time_limit` seconds. Where a turn gives several durations per run [runs, n], its last one is the whole.
    """
    lengths = {name: _lengths(turn(2)[-1], runs) for name, turn in cases.items()}
    found: dict[str, list[Sequence[Any]]] = {name: [] for name in cases}
    until = time.monotonic() + time_limit
    for done in range(rounds):
        if done >= 3 and time.monotonic() > until:
            break
        for name, turn in cases.items():
            warm, measured = lengths[name]
            found[name].append(turn(warm + measured)[warm:])
            time.sleep(PAUSE)
    return {name: np.array(durations) for name, durations in found.items()}


def _lengths(run: Any, least: int) -> tuple[int, int]:
    """How many runs of a turn do not count and how many do, by what one takes."""
    seconds = max(float(np.ravel(run)[-1]), 1e-4)
    return max(1, round(WARM / seconds)), max(least, round(MEASURED / seconds))


def ratio(ours: np.ndarray, theirs: np.ndarray) -> float:
    """How many times as long ours takes: the median over the rounds of the ratio of the turns' medians.

    [rounds, runs] each; as many rounds in both.
    """
    return float(np.median(np.median(ours, 1) / np.median(theirs, 1)))
