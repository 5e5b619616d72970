"""What an endurance run consists of: the node and a camera as processes, and the observer beside them."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from endurance.camera import CAMERAS, RATE
from endurance.camera_process import PATIENCE, CameraProcess
from endurance.ledger import Balance
from endurance.observer import Observer, generic
from endurance.requests import trigger
from robot import NODE, NodeProcess

__all__ = ['Arena']

# Seconds after which the node, which counts publishers every second, knows that another one has gone.
GRAPH_KNOWN = 3.0
NAME_UNKNOWN = '_NODE_NAME_UNKNOWN_'  # what the graph calls a node whose name has not come
NODE_PARAMETERS = (
    f'camera_names:=[{", ".join(CAMERAS)}]',
    'cameras.front.topic:=/front/image',
    'cameras.rear.topic:=/rear/image',
    'cameras.rear.transport:=compressed',
)


class Arena:
    """The three of them; what the attacks use.

    Attributes:
        random: every attack's chance.
        requests: how many requests had which outcome since the mark before.
        failures: what an attack found wrong, in words.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.requests: Counter[str] = Counter()
        self.failures: list[str] = []
        self._incarnation = 0
        self._uncertain: list[list[float]] = []  # start and end of times with several publishers
        self._log_read = 0
        self._before_deactivation: dict[str, Balance] = {}
        self.node = NodeProcess(folder / 'node.log', *NODE_PARAMETERS)
        self.pid = self.node.process.pid
        self.observer = Observer()
        self.camera = self._new_camera()
        self.wait(lambda: self.observer.heard, 'diagnostics')
        self.wait_active()
        self.flow()

    def close(self) -> int:
        """End all; returns the node's exit code."""
        self.camera.end()
        with contextlib.suppress(ProcessLookupError):
            self.node.process.send_signal(signal.SIGCONT)
        code = self.node.stop()
        self.observer.close()
        return code

    def wait(self, what: Callable[[], object], name: str, patience: float = PATIENCE) -> None:
        """Wait for something; AssertionError where it does not come, or the node has ended."""
        until = time.monotonic() + patience
        while not what():
            assert self.alive, f'the node ended with {self.node.process.returncode}'
            assert time.monotonic() < until, f'waited {patience:.0f} s in vain for {name}'
            time.sleep(0.05)

    @property
    def alive(self) -> bool:
        return self.node.process.poll() is None

    def pause(self, least: float, most: float) -> None:
        """Wait for a random time."""
        time.sleep(self.random.uniform(least, most))

    # -- the camera

    def flow(self, mode: str = 'good', rate: float = RATE) -> None:
        self.camera.command(mode=mode, rate=rate, paused=False)

    def replace_camera(self, number: int, absent: float) -> None:
        """End the camera with that signal; another one starts after `absent` seconds."""
        # The node counts its publishers every second: just before it may have counted otherwise.
        self._uncertain.append([time.monotonic() - GRAPH_KNOWN, float('inf')])
        self.camera.end(number)
        time.sleep(absent)
        self.camera = self._new_camera()
        self.flow()

    def _new_camera(self) -> CameraProcess:
        self._incarnation += 1
        return CameraProcess(self._incarnation, self.random.randrange(2**31), self.observer.published)

    # -- the node

    def wait_active(self) -> None:
        self.wait(lambda: self.observer.state() == 'active', 'the node to be active')
        self.wait(
            lambda: all(
                self.observer.node.count_publishers(f'{NODE}/{name}/frame_status') for name in CAMERAS
            ),
            'its publishers',
        )

    def hear(self) -> None:
        """Wait for the next diagnostics, one a second."""
        wanted = self.observer.heard + 1
        self.wait(lambda: self.observer.heard >= wanted, 'diagnostics')

    def _hear_counts(self) -> None:
        """Wait for diagnostics that were made after the last record; where they never agree, go on."""
        for _ in range(5):
            with self.observer.lock:
                if all(
                    ledger.agrees(self.observer.counts(name))
                    for name, ledger in self.observer.ledgers.items()
                ):
                    return
            self.hear()

    def settle(self) -> dict[str, Balance]:
        """Let the latest frame of each camera come through, balance the accounts, and go on."""
        self.camera.command(mode='good', paused=True)
        for _ in range(60):
            self.hear()
            with self.observer.lock:
                if all(ledger.settled() for ledger in self.observer.ledgers.values()):
                    break
            self.camera.command(single=True)
        else:
            self.failures.append('no frame came through any more')
        self._hear_counts()
        balances = self.mark()
        for name, before in self._before_deactivation.items():
            balances[name].add(before)
        self._before_deactivation = {}
        self.flow()
        return balances

    def deactivated(self) -> None:
        """The node has just ended its publishers: balance what came before."""
        now = time.monotonic()
        self.hear()
        self.hear()  # these were made after this call
        self._before_deactivation = self.mark(deactivated=now)

    def activated(self) -> None:
        """The node is about to become active."""
        with self.observer.lock:
            for ledger in self.observer.ledgers.values():
                ledger.activated()

    def reset_statistics(self) -> None:
        with self.observer.lock:
            for ledger in self.observer.ledgers.values():
                ledger.counts_reset()
        trigger(self.observer, 'reset_statistics')

    def mark(self, deactivated: float | None = None) -> dict[str, Balance]:
        """Balance the accounts; the diagnostics are the latest ones."""
        windows = [(start, end) for start, end in self._uncertain]
        balances = {}
        with self.observer.lock:
            for name, ledger in self.observer.ledgers.items():
                balances[name] = ledger.mark(
                    self.observer.counts(name),
                    running=self.camera.incarnation,
                    uncertain=windows,
                    deactivated=deactivated,
                )
        self._close_windows()
        return balances

    def alone(self) -> bool:
        """Whether the graph knows of this camera and no other; one that was killed stays in it for 20 s.

        The name of a node comes by another topic than its publishers, and may never come: one publisher alone
        is this camera's, which is running.
        """
        ours = ([f'camera_{self.camera.incarnation}'], [NAME_UNKNOWN])
        return all(names in ours for names in self._publishers().values())

    def wait_alone(self) -> None:
        """Wait until it is."""
        try:
            self.wait(self.alone, 'the graph to forget cameras that were killed')
        except AssertionError as error:
            raise AssertionError(f'{error}; it has {self._publishers()}') from None

    def _publishers(self) -> dict[str, list[str]]:
        """The nodes that the graph has on each image topic."""
        known = self.observer.node.get_publishers_info_by_topic
        return {name: [each.node_name for each in known(f'/{name}/image')] for name in CAMERAS}

    def _close_windows(self) -> None:
        """End the uncertain times once the graph has had one publisher per topic for long enough."""
        if not self.alone():
            return
        now = time.monotonic()
        self._uncertain = [
            [start, min(end, now + GRAPH_KNOWN)] for start, end in self._uncertain if end > now
        ]

    def said(self) -> Counter[str]:
        """The node's warnings and errors since the last call, from its log and diagnostics."""
        with self.node.log_path.open(errors='replace') as log:
            log.seek(self._log_read)
            lines = log.readlines()
            self._log_read = log.tell()
        with self.observer.lock:
            said, self.observer.said = self.observer.said, Counter()
        for line in lines:
            found = re.match(r'\[(WARN|ERROR|FATAL)\]\s*\[[^]]*\]\s*\[[^]]*\]:\s*(.*)', line)
            if found:
                said[generic(found[2])] += 1
            if line.startswith('Traceback'):
                self.failures.append('the log has a traceback')
        return said
