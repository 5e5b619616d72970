"""Two processes taking turns, so that drift of the machine meets both alike."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

PAUSE = 0.06  # seconds between two turns: threads of the other process that still spin come to rest
WARM = 1  # runs at the beginning of a turn that do not count


class Peer:
    """A running `peer.py`."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, str(Path(__file__).with_name('peer.py')), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._line() != 'ready':
            raise RuntimeError(f'the peer {" ".join(arguments)} did not start')

    def turn(self, case: str, count: int) -> list[float]:
        """Durations of `count` runs, seconds."""
        assert self._process.stdin is not None
        print(case, count, file=self._process.stdin, flush=True)
        return json.loads(self._line())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
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
    cases: Mapping[str, Callable[[int], Sequence[float]]], *, rounds: int, time_limit: float, runs: int = 4
) -> dict[str, np.ndarray]:
    """Each case's durations [rounds, runs], one turn of every case per round.

    At least three rounds are made, then no round starts after `time_limit` seconds.
    """
    found: dict[str, list[Sequence[float]]] = {name: [] for name in cases}
    until = time.monotonic() + time_limit
    for done in range(rounds):
        if done >= 3 and time.monotonic() > until:
            break
        for name, turn in cases.items():
            found[name].append(turn(runs + WARM)[WARM:])
            time.sleep(PAUSE)
    return {name: np.array(durations) for name, durations in found.items()}


def ratio(ours: np.ndarray, theirs: np.ndarray) -> float:
    """How many times as long ours takes: the median over the rounds of the ratio of the turns' medians."""
    return float(np.median(np.median(ours, 1) / np.median(theirs, 1)))
