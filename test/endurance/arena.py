"""What an endurance run consists of: the node and a camera as processes, and the observer beside them."""

from __future__ import annotations

import contextlib
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from endurance.camera import CAMERAS, RATE
from endurance.ledger import Balance, Counts, Ledger, Published
from endurance.requests import trigger
from endurance.shared_memory import own_segments, remove_segments
from rclpy.client import Client
from robot import DEEP, NODE, NodeProcess, Robot, environment

__all__ = ['Arena', 'CameraProcess', 'Observer']

PATIENCE = 120.0  # s for whatever must come at some time; nothing here is judged by how long it takes
# Seconds after which the node, which counts publishers every second, knows that another one has gone.
GRAPH_KNOWN = 3.0
NODE_PARAMETERS = (
    f'camera_names:=[{", ".join(CAMERAS)}]',
    'cameras.front.topic:=/front/image',
    'cameras.rear.topic:=/rear/image',
    'cameras.rear.transport:=compressed',
)


class CameraProcess:
    """The camera; `told` is called with each frame that it says to have published, in a thread."""

    def __init__(self, incarnation: int, seed: int, told: Any) -> None:
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

    def command(self, **what: Any) -> None:
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


class Observer(Robot):
    """Listens to the node, and asks it; keeps of each message only what is needed."""

    def __init__(self) -> None:
        super().__init__(cameras=())
        self.lock = threading.RLock()
        self.ledgers = {name: Ledger() for name in CAMERAS}
        self.outcomes: dict[str, list[str]] = {name: [] for name in CAMERAS}  # in the order of their coming
        self.said: Counter[str] = Counter()
        self.internal_errors = 0
        self.heard = 0  # diagnostics
        self._clients: dict[str, Client] = {}
        for name in CAMERAS:
            topic = f'{NODE}/{name}/frame_status'
            self.node.create_subscription(DiagnosticArray, topic, self._recorder(name), DEEP)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._hear, 10)

    def published(self, name: str, frame: Published) -> None:
        with self.lock:
            self.ledgers[name].published(frame)

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """As a robot's, with one client per service: clients that come and go would be an attack, too."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service_type, f'{NODE}/{name}')
            assert self._clients[name].wait_for_service(PATIENCE), f'there is no service {name}'
        done = threading.Event()
        future = self._clients[name].call_async(request)
        future.add_done_callback(lambda _: done.set())
        assert done.wait(PATIENCE), f'{name} did not answer'
        return future.result()

    def _recorder(self, name: str) -> Any:
        def record(message: DiagnosticArray) -> None:
            values = {pair.key: pair.value for pair in message.status[0].values}
            with self.lock:
                self.ledgers[name].recorded(message.header.frame_id, values['outcome'])
                self.outcomes[name].append(values['outcome'])

        return record

    def _hear(self, message: DiagnosticArray) -> None:
        with self.lock:
            self.heard += 1
            del self.diagnostics[:-2]  # a robot keeps them all
            for status in message.status:
                if status.level != DiagnosticStatus.OK:
                    self.said[generic(status.message)] += 1
                values = {pair.key: pair.value for pair in status.values}
                self.internal_errors = max(self.internal_errors, int(values.get('internal_errors', 0)))


def generic(text: str) -> str:
    """A text without its numbers, so that alike ones are counted together."""
    return re.sub(r'\d+(\.\d+)?(e[+-]?\d+)?', '#', text)[:160]


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

    def wait(self, what: Any, name: str, patience: float = PATIENCE) -> None:
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
                if all(ledger.agrees(self._counts(name)) for name, ledger in self.observer.ledgers.items()):
                    return
            self.hear()

    def _counts(self, name: str) -> Counts:
        values = self.observer.values_of(name)
        return Counts(int(values['frames']), int(values['not_received']))

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
        """The node has ended its publishers: balance what came before."""
        self.hear()
        self.hear()
        self._before_deactivation = self.mark(deactivated=True)

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

    def mark(self, deactivated: bool = False) -> dict[str, Balance]:
        """Balance the accounts; the diagnostics are the latest ones."""
        windows = [(start, end) for start, end in self._uncertain]
        balances = {}
        with self.observer.lock:
            for name, ledger in self.observer.ledgers.items():
                balances[name] = ledger.mark(
                    self._counts(name),
                    running=self.camera.incarnation,
                    uncertain=windows,
                    deactivated=deactivated,
                )
        self._close_windows()
        return balances

    def _close_windows(self) -> None:
        """End the uncertain times once the graph has had one publisher per topic for long enough."""
        now, known = time.monotonic(), self.observer.node.get_publishers_info_by_topic
        for name in CAMERAS:
            if [each.node_name for each in known(f'/{name}/image')] != [f'camera_{self.camera.incarnation}']:
                return
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
