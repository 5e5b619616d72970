"""The observer of an endurance run: hears what the node says, asks it, and keeps the accounts."""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from endurance.camera import CAMERAS
from endurance.ledger import Counts, Ledger, Published
from robot import DEEP, NODE, Robot

__all__ = ['Observer', 'generic']


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
        for name in CAMERAS:
            topic = f'{NODE}/{name}/frame_status'
            self.node.create_subscription(DiagnosticArray, topic, self._recorder(name), DEEP)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._hear, 10)

    def published(self, name: str, frame: Published) -> None:
        with self.lock:
            self.ledgers[name].published(frame)

    def counts(self, name: str) -> Counts:
        """The node's own, from its latest diagnostics."""
        values = self.values_of(name)
        return Counts(int(values['frames']), int(values['not_received']))

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
