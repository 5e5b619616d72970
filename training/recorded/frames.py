"""The frames of a bag that had a budget: how much, how slow the machine was then, and what they got."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from impatient_ros.perception.frame_record import CONFIDENT, FrameRecord, Outcome
from impatient_ros.replay import SourceError
from impatient_ros.replay.opened_recording import OpenedRecording

__all__ = ['TYPE', 'UNKNOWN', 'RecordedFrames', 'read_bag']

log = logging.getLogger(__name__)

TYPE = 'diagnostic_msgs/msg/DiagnosticArray'
SUFFIX = '/frame_status'
UNKNOWN = -2  # in place of a path's number: an answer of which path is not recorded


@dataclass(frozen=True)
class RecordedFrames:
    """All recorded frames that had a budget, N of them in the order of recording.

    `outcomes` counts all frames, those without a budget (superseded, dropped) included.
    """

    records: tuple[FrameRecord, ...]
    outcomes: Counter[str]
    cameras: tuple[str, ...]

    @property
    def budgets(self) -> np.ndarray:
        """Seconds [N]. One that was negative counts as 0: no path fits either."""
        return np.maximum(0.0, [record.budget or 0.0 for record in self.records])

    @property
    def expired(self) -> int:
        """Frames whose deadline had passed before they were picked up: a budget of 0."""
        return int((self.budgets <= 0).sum())

    @property
    def slowdowns(self) -> np.ndarray:
        """Of the machine against its latency profile [N], as the node knew it when it planned each frame.

        A frame that ended before it was planned may say 1 for "not known": it has that of the one before.
        """
        known = [r.planned_exit_index is not None or r.slowdown != 1.0 for r in self.records]
        if not any(known):
            return np.ones(len(self.records))
        latest = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
        latest[latest < 0] = known.index(True)
        return np.array([record.slowdown for record in self.records])[latest]

    def answers(self, paths: Sequence[tuple[int, int]]) -> np.ndarray:
        """Which of `paths` (resolution in px, exit), 0-based, each frame was answered from by its deadline
        [N]; -1: it has no answer, UNKNOWN: not recorded. One that stopped early since it was sure counts for
        the path that it was planned for. Raises ValueError for a path that is not among them.
        """
        number = {path: k for k, path in enumerate(paths)}
        sides = {side for side, _ in paths}
        found = []
        for record in self.records:
            sure = record.reason == CONFIDENT
            side = record.planned_resolution if sure else record.resolution
            exit_index = record.planned_exit_index if sure else record.exit_index
            if record.outcome is not Outcome.answered:
                found.append(-1)
            elif exit_index is None:
                found.append(UNKNOWN)
            else:
                # Of a single resolution older versions did not say which it was.
                path = (next(iter(sides)) if side is None and len(sides) == 1 else side, exit_index)
                if path not in number:
                    raise ValueError(
                        f'the bag has answers from {path[0]} px, exit {exit_index + 1}, which the checkpoint '
                        'does not have: give the one that ran on the robot'
                    )
                found.append(number[path])  # type: ignore[index]
        return np.array(found, dtype=np.int64)

    def halves(self) -> tuple[RecordedFrames, RecordedFrames]:
        """Those of the first and of the second half of the recording; outcomes stay those of the whole."""
        middle = len(self.records) // 2
        return (
            RecordedFrames(self.records[:middle], self.outcomes, self.cameras),
            RecordedFrames(self.records[middle:], self.outcomes, self.cameras),
        )


def read_bag(path: str | Path, camera: str | None = None) -> RecordedFrames:
    """The frames in a bag, all cameras' or one's.

    Frames that nobody tried for another reason (superseded, dropped) have no budget. Raises ValueError where
    no frame has one, OSError.
    """
    kept: list[tuple[int, FrameRecord]] = []
    outcomes: Counter[str] = Counter()
    cameras: set[str] = set()
    for recorded, record in _records(Path(path)):
        if camera is not None and record.camera != camera:
            continue
        cameras.add(record.camera)
        outcomes[record.outcome.value] += 1
        if record.budget is not None and np.isfinite(record.budget):
            kept.append((recorded, record))
    if not kept:
        seen = f' (there are {", ".join(sorted(cameras))})' if cameras else ''
        of = f' of camera {camera!r}' if camera is not None else ''
        raise ValueError(
            f'{path}: no frame_status{of} with a budget{seen}; record the topics ~/<camera>/frame_status'
        )
    kept.sort(key=lambda each: each[0])  # they were read camera by camera
    return RecordedFrames(tuple(record for _, record in kept), outcomes, tuple(sorted(cameras)))


def _records(path: Path) -> Iterator[tuple[int, FrameRecord]]:
    """The frames and when each was recorded, ns; one camera after the other."""
    if not path.exists():
        raise ValueError(f'{path}: there is no such bag')
    deserialize = get_typestore(Stores.ROS2_JAZZY).deserialize_cdr
    try:
        with OpenedRecording(path) as recording:
            for remark in recording.remarks:
                log.warning('%s', remark)
            for channel in recording.channels:
                if channel.kind != TYPE or not channel.topic.endswith(SUFFIX):
                    continue
                for recorded, data in recording.messages(channel.topic, TYPE):
                    message: Any = deserialize(data, TYPE)
                    stamp = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
                    for status in message.status:
                        values = {item.key: item.value for item in status.values}
                        yield recorded, FrameRecord.from_values(status.hardware_id, stamp, values)
    except SourceError:
        raise
    except Exception as error:  # a damaged message shows as struct, value, index and other errors
        what = str(error) or type(error).__name__
        raise ValueError(f'{path} cannot be read as a bag with frame_status: {what}') from error
