"""The .db3 files of rosbag2, read with Python's own sqlite3: messages, and nothing about their types."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from impatient_ros.replay.recording import LARGEST_MESSAGE, Channel, RecordingFile, unpacked
from impatient_ros.replay.recording_names import COMPANIONS

__all__ = ['SqliteFile']


class SqliteFile(RecordingFile):
    """Opened read-only. What another process has only written to the file's log so far is read, too."""

    repair = '`sqlite3 {} .recover | sqlite3 NEW.db3` saves what is left of it'

    def __init__(self, path: Path) -> None:
        # With nothing beside it the file can be read where no locks are possible, and nothing is left there.
        options = (
            'mode=ro'
            if any(_filled(path.with_name(path.name + ending)) for ending in COMPANIONS)
            else 'mode=ro&immutable=1'
        )
        self._database = sqlite3.connect(
            f'{path.absolute().as_uri()}?{options}', uri=True, check_same_thread=False
        )
        try:
            self.channels = self._read_channels()
        except BaseException:
            self._database.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def messages(self, topic: str, kind: str) -> Iterator[tuple[int, bytes]]:
        query = (
            'SELECT timestamp, CASE WHEN length(data) <= ? THEN data END FROM messages WHERE topic_id IN '
            '(SELECT id FROM topics WHERE name = ? AND type = ?) ORDER BY timestamp, id'
        )
        for recorded_ns, data in self._database.execute(query, (LARGEST_MESSAGE, topic, kind)):
            if not isinstance(data, bytes):
                raise ValueError(f'a message is none, or takes more than {LARGEST_MESSAGE} bytes')
            yield int(recorded_ns), unpacked(data)

    def _read_channels(self) -> list[Channel]:
        # A view, or a table that code computes, could have rows without end.
        made = self._ask("SELECT sql FROM sqlite_master WHERE name IN ('messages', 'topics')")
        if len(made) != 2 or not all(str(sql).upper().startswith('CREATE TABLE') for (sql,) in made):
            raise ValueError('not a database of rosbag2: it has no tables topics and messages')
        try:
            counts = dict(self._ask('SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id'))
            topics = self._ask('SELECT id, name, type, serialization_format FROM topics ORDER BY id')
        except sqlite3.OperationalError as error:
            raise ValueError(f'not a database of rosbag2, or one in use: {error}') from error
        for _, name, _, format in topics:
            if format != 'cdr':
                raise ValueError(f'{name} is serialised as {format!r}, only cdr is read')
        return [Channel(name, kind, counts.get(number, 0)) for number, name, kind, _ in topics]

    def _ask(self, query: str) -> list[Any]:
        return self._database.execute(query).fetchall()


def _filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
