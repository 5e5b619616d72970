"""The camera of an endurance run as a process: what it is told, and what it says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from endurance.ledger import Published
from endurance.shared_memory import own_segments, remove_segments
from robot import environment

__all__ = ['PATIENCE', 'CameraProcess']

PATIENCE = 120.0  # s for whatever must come at some time; nothing here is judged by how long it takes


class CameraProcess:
    """The camera; `told` is called with each frame that it says to have published, in a thread."""

    def __init__(self, incarnation: int, seed: int, told: Callable[[str, Published], None]) -> None:
        self.incarnation = incarnation
        self._told = told
        self._acknowledged = threading.Condition()
        self._latest = self._asked = 0
        command = [sys.executable, str(Path(__file__).with_name('camera.py')), str(incarnation), str(seed)]
        self.process = subprocess.Popen(
            command,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._ready.wait(PATIENCE), 'the camera did not start'
        self._segments = own_segments(self.process.pid)

    def command(self, **what: object) -> None:
        """Tell it, and wait until it has obeyed."""
        self._asked += 1
        self.process.stdin.write(json.dumps({**what, 'number': self._asked}) + '\n')
        self.process.stdin.flush()
        with self._acknowledged:
            obeyed = self._acknowledged.wait_for(lambda: self._latest >= self._asked, PATIENCE)
        assert obeyed, f'the camera did not obey {what}'

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it; all that it said is read, and what it leaves in shared memory is removed."""
        self.process.send_signal(number)
        self.process.wait()
        self._reader.join()
        self.process.stdin.close()
        self.process.stdout.close()
        remove_segments(self._segments)

    def _read(self) -> None:
        for line in self.process.stdout:
            kind, *words = line.split()
            if kind == 'frame':
                name, incarnation, number, at, readable = words
                self._told(name, Published(int(incarnation), int(number), float(at), readable == '1'))
            elif kind == 'acknowledged':
                with self._acknowledged:
                    self._latest = int(words[0])
                    self._acknowledged.notify_all()
            elif kind == 'ready':
                self._ready.set()
