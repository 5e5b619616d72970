"""What a replay camera does, one JSON object per line, for the program that started it.

It goes through a pipe and not a topic, because a topic may lose messages and the demo must know of every
frame. The events and their details: `opened` (description), `waiting` (topic), `frame` (number, stamp_ns,
name, and deadline_ns where deadlines are announced), `error` (message), `done` (published, skipped).
"""

import json
import threading
from collections.abc import Callable, Iterable
from typing import IO, Any

__all__ = ['EventLog', 'read_events']


class EventLog:
    """Writes events to `file` (None: nowhere), from any thread.

    `on_closed` is called once, when the reader has gone.
    """

    def __init__(self, file: IO[str] | None, on_closed: Callable[[], None] = lambda: None) -> None:
        self._file, self._on_closed = file, on_closed
        self._lock = threading.Lock()

    def write(self, event: str, **details: Any) -> None:
        with self._lock:
            if self._file is None:
                return
            try:
                self._file.write(json.dumps({'event': event, **details}) + '\n')
                self._file.flush()
            except (BrokenPipeError, ValueError):  # ValueError: closed on this side
                self._file = None
                self._on_closed()


def read_events(lines: Iterable[str], on_event: Callable[[dict[str, Any]], None]) -> None:
    """Call `on_event` with every event until the lines end; what libraries print in between is skipped."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get('event'), str):
            on_event(event)
