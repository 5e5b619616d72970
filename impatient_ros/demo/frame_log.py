"""The demo's frame log: what became of every frame that the replay camera published.

    frame_log = FrameLog()
    frame_log.add_frame(stamp_ns, number=1, name='01-hat.jpg')  # from the camera's event log
    frame_log.add_status(stamp_ns, record)                      # from frame_status
    frame_log.add_answer(stamp_ns, 'hat', 0.97)                 # from classification
    frame_log.summary().complete

A frame is identified by its stamp. Every published frame has one outcome. Of the frames without a reported
outcome as many count as not received as the node counted gaps in the camera's sequence, and the rest as
unaccounted. Memory grows by one float per answer and otherwise not at all. Not thread-safe.
"""

from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from impatient_ros.perception.frame_record import FrameRecord, Outcome

__all__ = ['FrameLog', 'FrameRow', 'Summary']

ROWS = 200  # frames kept for display: more than any terminal has lines
REMEMBERED = 10_000  # stamps kept to recognise a second status for the same frame: 5 min at 30 Hz


@dataclass(frozen=True)
class FrameRow:
    """One published frame; `record` is None until its status came, `label` until its answer came."""

    stamp_ns: int
    number: int
    name: str
    record: FrameRecord | None = None
    label: str | None = None
    confidence: float | None = None

    @property
    def answered(self) -> bool:
        """Whether an answer went out, in time or late."""
        return self.record is not None and self.record.outcome in (Outcome.answered, Outcome.late)


@dataclass(frozen=True)
class Summary:
    """The counts at one moment; slack in seconds, None without answers."""

    published: int
    outcomes: Mapping[Outcome, int]
    exits_used: Mapping[int, int]  # answers in time per exit index
    exits: int  # how many the network has, 0 while unknown
    reasons: Mapping[tuple[Outcome, str], int]  # why, of the frames that were not answered
    not_received: int
    unaccounted: int
    unexpected: int  # statuses of frames that the camera did not publish, or of one frame again
    slack_p50: float | None
    slack_p99: float | None  # 99% of the answers had at least this

    @property
    def reported(self) -> int:
        return sum(self.outcomes.values())

    @property
    def complete(self) -> bool:
        """Whether every published frame is accounted for, exactly once."""
        return self.unaccounted == 0 and self.unexpected == 0


class FrameLog:
    """Collects frames, statuses and answers in any order: a status can arrive before the event log's line."""

    def __init__(self) -> None:
        self._published = 0
        self._open: dict[int, FrameRow] = {}  # published, no status yet
        self._early: dict[int, FrameRecord] = {}  # status, not published yet
        self._answers: OrderedDict[int, tuple[str, float]] = OrderedDict()
        self._reported: OrderedDict[int, None] = OrderedDict()
        self._rows: OrderedDict[int, FrameRow] = OrderedDict()
        self._new: deque[int] = deque(maxlen=ROWS)
        self._outcomes: Counter[Outcome] = Counter()
        self._exits_used: Counter[int] = Counter()
        self._reasons: Counter[tuple[Outcome, str]] = Counter()
        self._exits = 0
        self._repeated = 0
        self._gaps = 0
        self._slack = array('d')

    @property
    def published(self) -> int:
        return self._published

    @property
    def reported(self) -> int:
        return sum(self._outcomes.values())

    @property
    def outstanding(self) -> int:
        """Published frames without a status, that no gap explains."""
        return max(0, len(self._open) - self._gaps)

    def add_frame(self, stamp_ns: int, number: int, name: str = '') -> None:
        self._published += 1
        self._open[stamp_ns] = self._rows[stamp_ns] = FrameRow(stamp_ns, number, name)
        self._trim(self._rows, ROWS)
        if (record := self._early.pop(stamp_ns, None)) is not None:
            self.add_status(stamp_ns, record)

    def add_status(self, stamp_ns: int, record: FrameRecord) -> None:
        row = self._open.pop(stamp_ns, None)
        if row is None:
            if stamp_ns in self._reported or stamp_ns in self._early:
                self._repeated += 1
            else:
                self._early[stamp_ns] = record
            return
        self._reported[stamp_ns] = None
        self._trim(self._reported, REMEMBERED)
        self._outcomes[record.outcome] += 1
        self._exits = max(self._exits, record.exits)
        if record.outcome is Outcome.answered and record.exit_index is not None:
            self._exits_used[record.exit_index] += 1
        elif record.reason:
            self._reasons[record.outcome, record.reason] += 1
        if record.slack is not None and record.outcome in (Outcome.answered, Outcome.late):
            self._slack.append(record.slack)
        label, confidence = self._answers.pop(stamp_ns, (None, None))
        self._rows[stamp_ns] = replace(row, record=record, label=label, confidence=confidence)
        self._rows.move_to_end(stamp_ns)  # rows are shown in the order of their statuses
        self._new.append(stamp_ns)

    def add_answer(self, stamp_ns: int, label: str, confidence: float) -> None:
        """Of several answers to a frame the last one counts."""
        row = self._rows.get(stamp_ns)
        if row is not None and row.record is not None:
            self._rows[stamp_ns] = replace(row, label=label, confidence=confidence)
        else:
            self._answers[stamp_ns] = (label, confidence)
            self._trim(self._answers, ROWS)

    def set_not_received(self, total: int) -> None:
        """What the node counted as gaps in the camera's sequence, since it started."""
        self._gaps = max(self._gaps, total)

    def latest(self, count: int) -> list[FrameRow]:
        """The frames that were reported last, the latest one last."""
        reported = [row for row in self._rows.values() if row.record is not None]
        return reported[-count:] if count else []

    def take_new(self) -> list[FrameRow]:
        """The frames reported since the last call."""
        stamps, self._new = self._new, deque(maxlen=ROWS)
        return [self._rows[stamp] for stamp in stamps if stamp in self._rows]

    def current(self, row: FrameRow) -> FrameRow:
        """What is known by now of the frame in `row`."""
        return self._rows.get(row.stamp_ns, row)

    def summary(self) -> Summary:
        missing = len(self._open)
        not_received = min(missing, self._gaps)
        # inverted_cdf: an observed slack that at least 99% of the answers reach, no interpolation beyond it
        slack = np.frombuffer(self._slack) if self._slack else None
        return Summary(
            published=self._published,
            outcomes={outcome: self._outcomes[outcome] for outcome in Outcome},
            exits_used=dict(self._exits_used),
            exits=self._exits,
            reasons=dict(self._reasons),
            not_received=not_received,
            unaccounted=missing - not_received,
            unexpected=len(self._early) + self._repeated,
            slack_p50=None if slack is None else float(np.quantile(slack, 0.5)),
            slack_p99=None if slack is None else float(np.quantile(slack, 0.01, method='inverted_cdf')),
        )

    @staticmethod
    def _trim(entries: OrderedDict, limit: int) -> None:
        while len(entries) > limit:
            entries.popitem(last=False)
