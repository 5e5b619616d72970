"""Load beside the network: a process on every core that computes, switched on and off by a schedule.

    none    nothing
    burn    always on
    step    on and off by turns, 10 s each, beginning with off
    burst   on for 0.05-0.4 s, off for 0.5-2 s, drawn with a fixed seed

Where several policies take turns in one run, each sees only a part of the time: `stretch` lengthens phases so
that each sees as many frames of its own per phase as it would alone, or enough of them.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

__all__ = ['LOADS', 'CoRunners', 'Schedule', 'stretch']

LOADS = ('none', 'burn', 'step', 'burst')
STEP = 10.0  # s
ENOUGH = 200  # frames of each stream per phase of a step

# Ends by itself when whoever started it is gone.
_BURN = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
parent, x = os.getppid(), 1
while os.getppid() == parent:
    for _ in range(200_000):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
"""


def stretch(load: str, streams: int, round_seconds: float) -> float:
    """The factor on the length of phases where so many streams take turns in rounds of so many seconds."""
    if load == 'step':
        return min(float(streams), max(1.0, ENOUGH * round_seconds / STEP))
    return float(streams)


class Schedule:
    """Whether the load is on at an instant, and which phase that is.

    Args:
        load: one of `LOADS`.
        stretch: factor on the length of the phases.
    """

    def __init__(self, load: str, stretch: float = 1.0, seed: int = 0) -> None:
        if load not in LOADS:
            raise ValueError(f'load is {load!r}; write one of {", ".join(LOADS)}')
        self._load = load
        self._phases = self._drawn(stretch, random.Random(seed))
        self._phase, self._on = -1, False
        self.until = 0.0  # s: when the phase asked for last ends

    def _drawn(self, stretch: float, source: random.Random) -> Iterator[tuple[bool, float]]:
        on = self._load == 'burn'
        while True:
            if self._load in ('none', 'burn'):
                yield on, float('inf')
            elif self._load == 'step':
                yield on, STEP * stretch
            else:
                yield on, stretch * (source.uniform(0.05, 0.4) if on else source.uniform(0.5, 2.0))
            on = not on

    def at(self, elapsed: float) -> tuple[int, bool]:
        """The phase's number (0, 1, ...) and whether the load is on, `elapsed` seconds from the start; asked
        in the order of time.
        """
        while elapsed >= self.until:
            self._on, length = next(self._phases)
            self.until += length
            self._phase += 1
        return self._phase, self._on


class CoRunners:
    """A process on every core that this one may use, computing while the schedule says so.

    A thread switches them at the phases' own instants, so a load also begins in the middle of a frame.

        with CoRunners('step') as others:
            phase, on = others.now()
    """

    def __init__(self, load: str, stretch: float = 1.0) -> None:
        self._schedule, self._labels = Schedule(load, stretch), Schedule(load, stretch)
        cores = sorted(os.sched_getaffinity(0)) if load != 'none' else []
        self._processes = [subprocess.Popen([sys.executable, '-c', _BURN, str(core)]) for core in cores]
        self._switch(False)
        self._began = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name='load', daemon=True)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def start(self) -> None:
        """The schedule begins now; until then the co-runners stand still."""
        self._began = time.perf_counter()
        self._thread.start()

    def now(self) -> tuple[int, bool]:
        """The number of the phase and whether the load is on."""
        return self._labels.at(time.perf_counter() - self._began)

    def _follow(self) -> None:
        while not self._ended.is_set():
            elapsed = time.perf_counter() - self._began
            _, on = self._schedule.at(elapsed)
            self._switch(on)
            left = self._schedule.until - elapsed
            self._ended.wait(None if left == float('inf') else left)

    def _switch(self, on: bool) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGCONT if on else signal.SIGSTOP)

    def __enter__(self) -> 'CoRunners':
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
