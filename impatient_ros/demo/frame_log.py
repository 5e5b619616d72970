"""The demo's frame log: what became of every frame that the replay camera published.

    frame_log = FrameLog(plain)
    frame_log.add_frame(stamp_ns, 1, '01-lemon.jpg', deadline_ns=..., truth='lemon')  # from the camera
    frame_log.add_status(stamp_ns, record)                                            # from frame_status
    frame_log.add_answer(stamp_ns, 'lemon', 0.97)                                     # from classification
    frame_log.summary().complete

A frame is identified by its stamp. Every published frame has one outcome. Of the frames without a reported
outcome as many count as not received as the node counted gaps in the camera's sequence, and the rest as
unaccounted. Beside each frame stands what the plain network would have made of it. Memory grows by one float
per answer and, beyond the rows that are kept, otherwise not at all. Not thread-safe.
"""

from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from impatient_ros.demo.plain_network import PlainNetwork, PlainResult
from impatient_ros.perception.frame_record import FrameRecord, Outcome

__all__ = ['KEPT', 'FrameLog', 'FrameRow', 'Score', 'Summary']

KEPT = 3000  # frames kept for display and for the page at the end: 5 min at 10 Hz
REMEMBERED = 10_000  # stamps kept to recognise a second status for the same frame: 5 min at 30 Hz

PathKey = tuple[int | None, int]  # resolution in px (None: the only one) and exit index


@dataclass(frozen=True)
class FrameRow:
    """One published frame; `record` is None until its status came, `label` until its answer came."""

    stamp_ns: int
    number: int
    name: str
    deadline_ns: int | None = None
    truth: str | None = None  # the label of what it shows, where that is known
    loaded: bool = False  # published while the machine was kept busy
    record: FrameRecord | None = None
    label: str | None = None
    confidence: float | None = None
    plain: PlainResult | None = None

    @property
    def budget(self) -> float | None:
        """Seconds from its stamp to its deadline."""
        return None if self.deadline_ns is None else 1e-9 * (self.deadline_ns - self.stamp_ns)

    @property
    def answered(self) -> bool:
        """Whether an answer went out, in time or late."""
        return self.record is not None and self.record.outcome in (Outcome.answered, Outcome.late)

    @property
    def in_time(self) -> bool:
        return self.record is not None and self.record.outcome is Outcome.answered

    @property
    def right(self) -> bool | None:
        """Whether the answer, in time or late, is right; None where that is not known."""
        return None if self.truth is None or self.label is None else self.label == self.truth

    @property
    def plain_right(self) -> bool | None:
        answer = None if self.plain is None else self.plain.label
        return None if self.truth is None or answer is None else answer == self.truth


@dataclass(frozen=True)
class Score:
    """How many of some frames each network answered in time, and how many of these answers are right."""

    frames: int = 0
    known: int = 0  # frames of which it is known what they show
    in_time: int = 0
    right: int = 0
    plain_in_time: int = 0
    plain_right: int = 0

    def __add__(self, other: 'Score') -> 'Score':
        return Score(*(a + b for a, b in zip(self._values(), other._values(), strict=True)))

    def _values(self) -> tuple[int, ...]:
        return (self.frames, self.known, self.in_time, self.right, self.plain_in_time, self.plain_right)


@dataclass(frozen=True)
class Summary:
    """The counts at one moment; slack in seconds, None without answers."""

    published: int
    outcomes: Mapping[Outcome, int]
    paths_used: Mapping[PathKey, int]  # answers in time
    reasons: Mapping[tuple[Outcome, str], int]  # why, of the frames that were not answered
    not_received: int
    unaccounted: int
    unexpected: int  # statuses of frames that the camera did not publish, or of one frame again
    slack_p50: float | None
    slack_p99: float | None  # 99% of the answers had at least this
    quiet: Score
    loaded: Score  # of the frames published while the machine was kept busy

    @property
    def reported(self) -> int:
        return sum(self.outcomes.values())

    @property
    def score(self) -> Score:
        return self.quiet + self.loaded

    @property
    def complete(self) -> bool:
        """Whether every published frame is accounted for, exactly once."""
        return self.unaccounted == 0 and self.unexpected == 0


class FrameLog:
    """Collects frames, statuses and answers in any order: a status can arrive before the event log's line."""

    def __init__(self, plain: PlainNetwork | None = None) -> None:
        self._plain = plain
        self._published = 0
        self._open: dict[int, FrameRow] = {}  # published, no status yet
        self._early: dict[int, FrameRecord] = {}  # status, not published yet
        self._answers: OrderedDict[int, tuple[str, float]] = OrderedDict()
        self._reported: OrderedDict[int, None] = OrderedDict()
        self._rows: OrderedDict[int, FrameRow] = OrderedDict()
        self._new: deque[int] = deque(maxlen=KEPT)
        self._outcomes: Counter[Outcome] = Counter()
        self._paths_used: Counter[PathKey] = Counter()
        self._reasons: Counter[tuple[Outcome, str]] = Counter()
        self._tally: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}  # by load
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

    def add_frame(
        self,
        stamp_ns: int,
        number: int,
        name: str = '',
        *,
        deadline_ns: int | None = None,
        truth: str | None = None,
        loaded: bool = False,
    ) -> None:
        self._published += 1
        row = FrameRow(stamp_ns, number, name, deadline_ns, truth, loaded)
        self._open[stamp_ns] = self._rows[stamp_ns] = row
        self._tally[loaded].update(frames=1, known=int(truth is not None))
        self._trim(self._rows, KEPT)
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
        if record.outcome is Outcome.answered and record.exit_index is not None:
            self._paths_used[record.resolution, record.exit_index] += 1
        elif record.reason:
            self._reasons[record.outcome, record.reason] += 1
        if record.slack is not None and record.outcome in (Outcome.answered, Outcome.late):
            self._slack.append(record.slack)
        label, confidence = self._answers.pop(stamp_ns, (None, None))
        row = replace(row, record=record, label=label, confidence=confidence)
        row = replace(row, plain=self._plain.result(row) if self._plain else None)
        self._count(row, 1)
        self._rows[stamp_ns] = row
        self._rows.move_to_end(stamp_ns)  # rows are shown in the order of their statuses
        self._new.append(stamp_ns)

    def add_answer(self, stamp_ns: int, label: str, confidence: float) -> None:
        """Of several answers to a frame the last one counts."""
        row = self._rows.get(stamp_ns)
        if row is not None and row.record is not None:
            self._count(row, -1)
            self._rows[stamp_ns] = row = replace(row, label=label, confidence=confidence)
            self._count(row, 1)
        else:
            self._answers[stamp_ns] = (label, confidence)
            self._trim(self._answers, KEPT)

    def set_not_received(self, total: int) -> None:
        """What the node counted as gaps in the camera's sequence, since it started."""
        self._gaps = max(self._gaps, total)

    def latest(self, count: int) -> list[FrameRow]:
        """The frames that were reported last, the latest one last."""
        reported = [row for row in self._rows.values() if row.record is not None]
        return reported[-count:] if count else []

    def take_new(self) -> list[FrameRow]:
        """The frames reported since the last call."""
        stamps, self._new = self._new, deque(maxlen=KEPT)
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
            paths_used=dict(self._paths_used),
            reasons=dict(self._reasons),
            not_received=not_received,
            unaccounted=missing - not_received,
            unexpected=len(self._early) + self._repeated,
            slack_p50=None if slack is None else float(np.quantile(slack, 0.5)),
            slack_p99=None if slack is None else float(np.quantile(slack, 0.01, method='inverted_cdf')),
            quiet=Score(**self._tally[False]),
            loaded=Score(**self._tally[True]),
        )

    def _count(self, row: FrameRow, times: int) -> None:
        plain = row.plain is not None and row.plain.in_time
        self._tally[row.loaded].update(
            in_time=times * row.in_time,
            right=times * (row.in_time and row.right is True),
            plain_in_time=times * plain,
            plain_right=times * (plain and row.plain_right is True),
        )

    @staticmethod
    def _trim(entries: OrderedDict, limit: int) -> None:
        while len(entries) > limit:
            entries.popitem(last=False)
