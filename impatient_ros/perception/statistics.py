"""Adding frame records up: counts, quantiles and rates of one camera."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from impatient_ros.perception.frame_record import ARRIVED_LATE, FrameRecord, Outcome
from impatient_ros.planning.quantile import quantile

__all__ = ['CameraStatistics', 'Tally', 'WindowSummary']


@dataclass(frozen=True)
class CameraStatistics:
    """One camera's statistics; None where there is nothing to tell from yet."""

    # since the reset
    frames: int
    counts: Mapping[Outcome, int]
    faults: Mapping[str, int]
    reasons: Mapping[str, int]  # of dropped frames
    arrived_late: int  # infeasible frames that arrived after their deadline
    unknown: int  # answers that said so
    not_received: int
    # in the window
    rate: float  # frames per second, whatever became of them
    answer_rate: float  # answers per second, late ones included
    recent: Mapping[Outcome, int]
    recent_paths: Mapping[str, int]  # answers per path, in words; the lowest resolution's first exit first
    recent_faults: Mapping[str, int]
    recent_reasons: Mapping[str, int]
    recent_arrived_late: int
    recent_not_received: int
    slack_min: float | None
    slack_p01: float | None  # 99% of the answers had at least this slack
    slack_p50: float | None
    slack_p99: float | None
    miss_rate: float | None
    overrun_rate: float | None
    slowdown: float | None  # the latest
    silent: float  # seconds since the last frame, or since the reset


class Tally:
    """How many records there were of each kind."""

    def __init__(self) -> None:
        self.counts: Counter[Outcome] = Counter()
        self.faults: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.arrived_late = self.unknown = 0

    def add(self, record: FrameRecord) -> None:
        self.counts[record.outcome] += 1
        self.unknown += record.unknown
        self.arrived_late += record.outcome is Outcome.infeasible and record.reason == ARRIVED_LATE
        if record.fault:
            self.faults[record.fault] += 1
        if record.outcome is Outcome.dropped:
            self.reasons[record.reason or 'unknown'] += 1

    def copy(self) -> 'Tally':
        copy = Tally()
        copy.counts, copy.faults, copy.reasons = self.counts.copy(), self.faults.copy(), self.reasons.copy()
        copy.arrived_late, copy.unknown = self.arrived_late, self.unknown
        return copy


class WindowSummary:
    """What the records of the window come to, added in the order of time."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._paths: Counter[tuple[int, int, str]] = Counter()  # by resolution, exit and their words
        self._tried = self._misses = self._protected = self._overruns = 0
        self._slacks: list[float] = []
        self._slowdown: float | None = None

    def add(self, record: FrameRecord) -> None:
        self.tally.add(record)
        if record.exit_index is not None and record.outcome in (Outcome.answered, Outcome.late):
            self._paths[record.resolution or 0, record.exit_index, record.path] += 1
        if record.tried:
            self._tried += 1
            self._misses += record.miss
            self._slowdown = record.slowdown
            if record.overrun is not None:
                self._protected += 1
                self._overruns += record.overrun
            if record.slack is not None:
                self._slacks.append(record.slack)

    def statistics(
        self, total: Tally, *, span: float, not_received: int, recent_not_received: int, silent: float
    ) -> CameraStatistics:
        """With the counts since the reset (`total`); `span` is the seconds that the records stand for."""
        slacks = sorted(self._slacks)
        recent = self.tally
        return CameraStatistics(
            frames=total.counts.total(),
            counts=dict(total.counts),
            faults=dict(total.faults),
            reasons=dict(total.reasons),
            arrived_late=total.arrived_late,
            unknown=total.unknown,
            not_received=not_received,
            rate=recent.counts.total() / span,
            answer_rate=self._paths.total() / span,
            recent=dict(recent.counts),
            recent_paths={words: count for (_, _, words), count in sorted(self._paths.items())},
            recent_faults=dict(recent.faults),
            recent_reasons=dict(recent.reasons),
            recent_arrived_late=recent.arrived_late,
            recent_not_received=recent_not_received,
            slack_min=slacks[0] if slacks else None,
            slack_p01=quantile(slacks, 0.01) if slacks else None,
            slack_p50=quantile(slacks, 0.50) if slacks else None,
            slack_p99=quantile(slacks, 0.99) if slacks else None,
            miss_rate=_share(self._misses, self._tried),
            overrun_rate=_share(self._overruns, self._protected),
            slowdown=self._slowdown,
            silent=silent,
        )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
