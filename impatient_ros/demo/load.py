"""The load of the demo: a busy process per core in the middle third of the run."""

import os
import subprocess
import sys

__all__ = ['BusyProcesses', 'loaded_at']

ENDLESS = 300  # frames of a run without end after which quiet and load come round again
# It ends by itself when the demo is gone, however that ended: nobody wants a busy process left behind.
BUSY = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1000000):
        pass
"""


def loaded_at(number: int, frames: int | None) -> bool:
    """Whether the machine is to be busy at the frame of that number (from 1) of so many (None: no end)."""
    run = frames or ENDLESS
    return run // 3 <= (number - 1) % run < 2 * run // 3


class BusyProcesses:
    """One per core that this process may use, while they are switched on."""

    def __init__(self) -> None:
        self.count = len(os.sched_getaffinity(0))
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def on(self) -> bool:
        return bool(self._running)

    def switch(self, on: bool) -> None:
        if on and not self._running:
            command = [sys.executable, '-S', '-c', BUSY, str(os.getpid())]
            self._running = [
                subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
                for _ in range(self.count)
            ]
        elif not on:
            for process in self._running:
                process.kill()
            for process in self._running:
                process.wait()
            self._running = []
