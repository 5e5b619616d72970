"""Adding frame records up: counts, quantiles and rates of one camera, or of all together."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from impatient_ros.perception.frame_record import FrameRecord, Outcome

__all__ = ['CameraStatistics', 'Summary', 'Tally']


@dataclass(frozen=True)
class CameraStatistics:
    """One camera's statistics, or the total's (camera ''); None where there is nothing to tell from yet."""

    camera: str
    # since the reset
    frames: int
    counts: Mapping[Outcome, int]
    exits_used: Mapping[int, int]  # answers per exit index
    faults: Mapping[str, int]
    reasons: Mapping[str, int]  # of dropped frames
    not_received: int
    # in the window
    rate: float  # frames per second, whatever became of them
    answer_rate: float  # answers per second, late ones included
    recent: Mapping[Outcome, int]
    recent_exits: Mapping[int, int]
    recent_faults: Mapping[str, int]
    recent_reasons: Mapping[str, int]
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
        self.exits: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def add(self, record: FrameRecord) -> None:
        self.counts[record.outcome] += 1
        if record.exit_index is not None and record.outcome in (Outcome.answered, Outcome.late):
            self.exits[record.exit_index] += 1
        if record.fault:
            self.faults[record.fault] += 1
        if record.outcome is Outcome.dropped:
            self.reasons[record.reason or 'unknown'] += 1

    def merge(self, other: 'Tally') -> None:
        self.counts.update(other.counts)
        self.exits.update(other.exits)
        self.faults.update(other.faults)
        self.reasons.update(other.reasons)


_ADDED = ('lost', 'recently_lost', 'rate', 'answer_rate', 'tried', 'misses', 'promised', 'overruns', 'slacks')


class Summary:
    """What the statistics are made of, for one camera or added up for all."""

    def __init__(self, last: float) -> None:
        self.last = last  # when the last frame ended
        self.tally, self.recent = Tally(), Tally()
        self.lost = self.recently_lost = 0
        self.rate = self.answer_rate = 0.0
        self.tried = self.misses = self.promised = self.overruns = 0
        self.slacks: list[float] = []
        self.slowdown: tuple[float, float] | None = None  # when, how much

    def add(self, time: float, record: FrameRecord) -> None:
        """Count one record of the window, in the order of time."""
        self.recent.add(record)
        if record.tried:
            self.tried += 1
            self.misses += record.miss
            self.slowdown = (time, record.slowdown)
            if record.overrun is not None:
                self.promised += 1
                self.overruns += record.overrun
            if record.slack is not None:
                self.slacks.append(record.slack)

    def merge(self, other: 'Summary') -> None:
        self.last = max(self.last, other.last)
        self.tally.merge(other.tally)
        self.recent.merge(other.recent)
        # The cameras' windows differ in length where one is full, so the rates are added, not the frames.
        for name in _ADDED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.slowdown is not None:
            self.slowdown = max(self.slowdown or other.slowdown, other.slowdown)

    def statistics(self, name: str, now: float) -> CameraStatistics:
        slacks = sorted(self.slacks)
        return CameraStatistics(
            camera=name,
            frames=sum(self.tally.counts.values()),
            counts=dict(self.tally.counts),
            exits_used=dict(sorted(self.tally.exits.items())),
            faults=dict(self.tally.faults),
            reasons=dict(self.tally.reasons),
            not_received=self.lost,
            rate=self.rate,
            answer_rate=self.answer_rate,
            recent=dict(self.recent.counts),
            recent_exits=dict(sorted(self.recent.exits.items())),
            recent_faults=dict(self.recent.faults),
            recent_reasons=dict(self.recent.reasons),
            recent_not_received=self.recently_lost,
            slack_min=slacks[0] if slacks else None,
            slack_p01=_quantile(slacks, 0.01),
            slack_p50=_quantile(slacks, 0.50),
            slack_p99=_quantile(slacks, 0.99),
            miss_rate=_share(self.misses, self.tried),
            overrun_rate=_share(self.overruns, self.promised),
            slowdown=None if self.slowdown is None else self.slowdown[1],
            silent=now - self.last,
        )


def _quantile(ordered: list[float], q: float) -> float | None:
    """The q-quantile of sorted values, interpolated linearly; None of none."""
    if not ordered:
        return None
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
