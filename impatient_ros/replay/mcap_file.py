"""MCAP files (https://mcap.dev/spec), with and without index and end.

Only what can be trusted is read: chunks are decompressed into bounded memory and compared with their
checksums; definitions of types, which may be foreign or empty, are passed over. A file without its summary,
as a recorder leaves it that was killed, is read up to where it is cut off.
"""

from __future__ import annotations

import heapq
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lz4.frame import LZ4FrameDecompressor

from impatient_ros.replay.recording import LARGEST_CHUNK, Channel, RecordingFile, unpacked, zstd
from impatient_ros.replay.recording_names import MAGIC_MCAP as MAGIC

__all__ = ['McapFile']

FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06
CHUNK_INDEX, STATISTICS, DATA_END = 0x08, 0x0B, 0x0F
FOOTER_SIZE = 9 + 20 + len(MAGIC)
LARGEST_SUMMARY = 1 << 28  # bytes; 70 of them per chunk, and a day of recording has 100,000 chunks


class _Place(NamedTuple):
    """A chunk, or a message that lies in none: where, and the time of its first message (ns)."""

    start_ns: int
    offset: int
    channels: frozenset[int]  # that are in it; empty: not known


class McapFile(RecordingFile):
    """Read by chunks; messages of chunks that overlap are put in order. Not safe for several threads."""

    repair = '`mcap recover {} -o NEW.mcap` saves what is left of it'

    def __init__(self, path: Path) -> None:
        self._file = path.open('rb')
        self._size = os.fstat(self._file.fileno()).st_size
        self._schemas: dict[int, str] = {}
        self._topics: dict[int, tuple[str, str]] = {}  # of each channel: name and type
        self._counts: Counter[int] = Counter()
        self._places: list[_Place] = []
        try:
            if self._file.read(len(MAGIC)) != MAGIC:
                raise ValueError('not an MCAP file')
            if not self._has_summary():
                self._scan()
        except BaseException:
            self._file.close()
            raise
        self._places.sort()
        self.channels = [Channel(*topic, self._counts[number]) for number, topic in self._topics.items()]

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def messages(self, topic: str, kind: str) -> Iterator[tuple[int, bytes]]:
        wanted = {number for number, found in self._topics.items() if found == (topic, kind)}
        # Chunks may overlap in time: a message goes out once no later chunk can have an earlier one.
        waiting: list[tuple[int, int, bytes]] = []
        order, held = 0, 0
        for place in self._places:
            if place.channels and not place.channels & wanted:
                continue
            while waiting and (waiting[0][0] < place.start_ns or held > LARGEST_CHUNK):
                recorded_ns, _, message = heapq.heappop(waiting)
                held -= len(message)
                yield recorded_ns, unpacked(message)
            for channel, recorded_ns, content in self._messages_at(place.offset):
                if channel in wanted:
                    heapq.heappush(waiting, (recorded_ns, order, bytes(content)))
                    order, held = order + 1, held + len(content)
        while waiting:
            recorded_ns, _, message = heapq.heappop(waiting)
            yield recorded_ns, unpacked(message)

    def _has_summary(self) -> bool:
        """Take channels, counts and places from the end of the file; False where not all are there."""
        if self._size < FOOTER_SIZE + len(MAGIC):
            return False
        self._file.seek(-FOOTER_SIZE, os.SEEK_END)
        footer = self._file.read()
        (start,) = struct.unpack_from('<Q', footer, 9)
        length = self._size - FOOTER_SIZE - start
        if footer[0] != FOOTER or footer[-len(MAGIC) :] != MAGIC or not 0 < length <= LARGEST_SUMMARY:
            return False
        self._file.seek(start)
        try:
            return self._read_summary(memoryview(self._file.read(length)))
        except (ValueError, struct.error):
            return False

    def _read_summary(self, summary: memoryview) -> bool:
        counted = False
        for code, content in _records(summary):
            self._learn(code, content)
            if code == CHUNK_INDEX:
                start_ns, _, offset, _, length = struct.unpack_from('<QQQQI', content)
                channels = frozenset(key for key, _ in struct.iter_unpack('<HQ', content[36 : 36 + length]))
                self._places.append(_Place(start_ns, offset, channels))
            elif code == STATISTICS:
                (length,) = struct.unpack_from('<I', content, 42)
                self._counts.update(dict(struct.iter_unpack('<HQ', content[46 : 46 + length])))
                counted = True
        return counted and bool(self._places) and bool(self._topics)

    def _scan(self) -> None:
        """The same from the whole file, as far as it goes."""
        self._places, self._counts = [], Counter()
        offset = len(MAGIC)
        while offset < self._size:
            try:
                code, length = self._record_at(offset)
                if code in (DATA_END, FOOTER):
                    return
                if code in (SCHEMA, CHANNEL):
                    self._learn(code, memoryview(self._file.read(length)))
                elif code in (MESSAGE, CHUNK):
                    first_ns = None
                    for channel, recorded_ns, _ in self._messages_at(offset):
                        self._counts[channel] += 1
                        first_ns = recorded_ns if first_ns is None else min(first_ns, recorded_ns)
                    if first_ns is not None:
                        self._places.append(_Place(first_ns, offset, frozenset()))
            except (ValueError, LookupError, RuntimeError, struct.error, zstd.ZstdError) as error:
                if not self._places:
                    raise
                self.cut_off = f'it cannot be read beyond byte {offset} of {self._size} ({error})'
                return
            offset += 9 + length
        self.cut_off = f'it ends after {self._size} bytes, without its end'

    def _messages_at(self, offset: int) -> Iterator[tuple[int, int, memoryview]]:
        """Of a chunk, or of a lone message: channel, time of recording (ns), the message."""
        code, length = self._record_at(offset)
        content = memoryview(self._file.read(length))
        for kind, record in _records(_decompressed(content)) if code == CHUNK else [(code, content)]:
            self._learn(kind, record)
            if kind == MESSAGE:
                channel, _, recorded_ns, _ = struct.unpack_from('<HIQQ', record)
                yield channel, recorded_ns, record[22:]

    def _record_at(self, offset: int) -> tuple[int, int]:
        """What kind of record begins there and its length; the file then stands at its content."""
        self._file.seek(offset)
        code, length = struct.unpack('<BQ', self._file.read(9))
        if offset + 9 + length > self._size:
            raise ValueError('it is cut off')
        if code in (SCHEMA, CHANNEL, MESSAGE, CHUNK) and length > LARGEST_CHUNK:
            raise ValueError(f'a part of it takes {length} bytes, at most {LARGEST_CHUNK} are read')
        return code, length

    def _learn(self, code: int, content: memoryview) -> None:
        """Remember which topic and type a channel has."""
        if code == SCHEMA:
            self._schemas[struct.unpack_from('<H', content)[0]] = _text(content, 2)[0]
        elif code == CHANNEL:
            channel, schema = struct.unpack_from('<HH', content)
            topic, _ = _text(content, 4)
            self._topics[channel] = (topic, self._schemas.get(schema, ''))


def _records(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Kind and content of each record in a chunk or summary."""
    at = 0
    while at < len(content):
        code, length = struct.unpack_from('<BQ', content, at)
        if at + 9 + length > len(content):
            raise ValueError('a record goes beyond its chunk')
        yield code, content[at + 9 : at + 9 + length]
        at += 9 + length


def _decompressed(chunk: memoryview) -> memoryview:
    _, _, size, checksum = struct.unpack_from('<QQQI', chunk)
    kind, at = _text(chunk, 28)
    (length,) = struct.unpack_from('<Q', chunk, at)
    packed = chunk[at + 8 : at + 8 + length]
    if size > LARGEST_CHUNK:
        raise ValueError(f'a chunk holds {size} bytes, at most {LARGEST_CHUNK} are read')
    if kind == 'zstd':
        data = zstd.ZstdDecompressor().decompress(packed, max_length=size)
    elif kind == 'lz4':
        data = LZ4FrameDecompressor().decompress(packed, max_length=size)
    elif not kind:
        data = bytes(packed)
    else:
        raise ValueError(f'a chunk is compressed with {kind[:20]!r}, only lz4 and zstd are read')
    if len(data) != size or (checksum and zlib.crc32(data) != checksum):
        raise ValueError('a chunk does not match its size or checksum')
    return memoryview(data)


def _text(content: memoryview, at: int) -> tuple[str, int]:
    """A text and where it ends."""
    (length,) = struct.unpack_from('<I', content, at)
    end = at + 4 + length
    return bytes(content[at + 4 : end]).decode(), end
