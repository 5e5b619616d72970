"""What a replay camera published, one JSON object per line, for the program that started it.

A pipe and not a topic: the books of the demo must be exact, and a topic may lose entries. The events and
what goes with them: `opened` (description), `waiting` (topic), `frame` (number, stamp_ns, name), `error`
(message), `done` (published, skipped).
"""

import json
import threading
from collections.abc import Callable, Iterable
from typing import IO, Any

__all__ = ['Ledger', 'read_ledger']


class Ledger:
    """Writes entries to `file` (None: nowhere). Where the reader has gone, `on_closed` is called once."""

    def __init__(self, file: IO[str] | None, on_closed: Callable[[], None] = lambda: None) -> None:
        self._file, self._on_closed = file, on_closed
        self._lock = threading.Lock()

    def enter(self, event: str, **details: Any) -> None:
        with self._lock:
            if self._file is None:
                return
            try:
                self._file.write(json.dumps({'event': event, **details}) + '\n')
                self._file.flush()
            except (BrokenPipeError, ValueError):  # ValueError: closed on this side
                self._file = None
                self._on_closed()


def read_ledger(lines: Iterable[str], on_entry: Callable[[dict[str, Any]], None]) -> None:
    """Call `on_entry` with every entry until the lines end; a library's chatter in between is skipped."""
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get('event'), str):
            on_entry(entry)
