"""What people should know about the node, raised and settled with hysteresis.

An alert is logged once when it comes up, and once more when none is raised any more; in between it stays in
the diagnostics without flickering.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from impatient_ros.perception.frame_record import Outcome
from impatient_ros.perception.remedies import remedies
from impatient_ros.perception.statistics import CameraStatistics
from impatient_ros.perception.transport_advice import Transport

__all__ = ['CAMERA_ALERTS', 'MODEL_ALERTS', 'Alert', 'Alerts', 'CameraSituation', 'Notice']

# Seconds without a frame of an active camera. Chosen, not measured: three frames of a camera of 1 Hz.
SILENCE = 3.0
EXPECTED_DROPS = ('deactivated', 'clock_jump')  # reasons of dropped frames that no input caused


@dataclass(frozen=True)
class Notice:
    """What is to be said; `level` is one of `logging`."""

    level: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Raised when `measure` reaches `raise_at`, settled when it falls below `settle_below`."""

    level: int  # of `logging`
    measure: Callable[[Any], float]
    raise_at: float
    settle_below: float
    text: Callable[[Any], str]


class Alerts:
    """Keeps which alerts are raised. Not thread-safe."""

    def __init__(self, alerts: Sequence[Alert]) -> None:
        self._alerts = alerts
        self._raised: list[Alert] = []

    def update(self, situation: Any) -> tuple[list[Notice], list[Notice]]:
        """What is raised in this situation, the worst first, and what is to be logged: the change."""
        before = self._raised
        self._raised = [
            alert
            for alert in self._alerts
            if alert.measure(situation) >= (alert.settle_below if alert in before else alert.raise_at)
        ]
        raised = [Notice(alert.level, alert.text(situation)) for alert in self._raised]
        news = [notice for alert, notice in zip(self._raised, raised, strict=True) if alert not in before]
        if before and not self._raised:
            news.append(Notice(logging.INFO, 'fine again'))
        return sorted(raised, key=lambda notice: -notice.level), news


class Part(NamedTuple):
    """How many of how many frames."""

    affected: int
    frames: int

    def share(self, least: int) -> float:
        """Their share (0..1); 0 where there are fewer than `least` frames: too few to tell."""
        return self.affected / self.frames if self.frames >= least else 0.0

    def __str__(self) -> str:
        return f'{self.affected} of {self.frames}'


@dataclass(frozen=True)
class CameraSituation:
    """What the alerts about one camera are judged by."""

    statistics: CameraStatistics
    topic: str
    silent: float  # s without a frame while the node was active
    window: float  # s that the statistics' recent counts are of
    transport: Transport
    message_bytes: int  # of the latest image

    @property
    def lost(self) -> Part:
        """Frames that were published and not received among all that were published, in the window."""
        lost = self.statistics.recent_not_received
        return Part(lost, lost + sum(self.statistics.recent.values()))

    @property
    def missed(self) -> Part:
        """Misses among all frames that were tried, in the window."""
        recent = self.statistics.recent
        misses = recent.get(Outcome.late, 0) + recent.get(Outcome.missed, 0)
        return Part(misses, misses + recent.get(Outcome.answered, 0))

    @property
    def infeasible(self) -> Part:
        """Infeasible frames that arrived before their deadline, among these and all tried, in the window."""
        infeasible = self.statistics.recent.get(Outcome.infeasible, 0) - self.statistics.recent_arrived_late
        return Part(infeasible, infeasible + self.missed.frames)

    @property
    def arrived_late(self) -> Part:
        """Frames that arrived after their deadline, among these, other infeasible and all tried ones."""
        late = self.statistics.recent_arrived_late
        return Part(late, late + self.infeasible.frames)

    @property
    def dropped(self) -> dict[str, int]:
        """Frames dropped in the window by reason."""
        return {why: n for why, n in self.statistics.recent_reasons.items() if why not in EXPECTED_DROPS}


def _listed(counts: Mapping[str, int]) -> str:
    return ', '.join(f'{count} {name}' for name, count in sorted(counts.items()))


# The levels at which shares are raised and settled are chosen, not measured: far enough apart that a rate on
# the edge does not flicker, and misses clearly above the default budget.miss_rate of 0.01. A share of fewer
# than 5 (infeasible) or 20 frames (misses) says too little.
CAMERA_ALERTS = (
    Alert(
        level=logging.ERROR,
        measure=lambda s: s.silent,
        raise_at=SILENCE,
        settle_below=SILENCE,
        text=lambda s: (
            f'no frame on {s.topic} for {s.silent:.0f} s: is the camera running, the topic right, the '
            'transport (raw, compressed) that of the topic?'
        ),
    ),
    Alert(
        level=logging.WARNING,
        measure=lambda s: s.infeasible.share(least=5),
        raise_at=0.5,
        settle_below=0.1,
        text=lambda s: (
            f'not even the cheapest path fits: {s.infeasible} frames had too little '
            'time left; give them more (budget.*), a faster model, or images that arrive sooner'
        ),
    ),
    Alert(
        level=logging.WARNING,
        measure=lambda s: s.arrived_late.share(least=5),
        raise_at=0.5,
        settle_below=0.1,
        text=lambda s: (
            f'{s.arrived_late} frames arrived after their deadline, older than their budget is long; send '
            "them sooner after their stamp, synchronise the machines' clocks, or raise the budget (budget.*)"
        ),
    ),
    Alert(
        level=logging.WARNING,
        measure=lambda s: s.missed.share(least=20),
        raise_at=0.05,
        settle_below=0.02,
        text=lambda s: (
            f'{s.missed} frames had no answer by their deadline; give them more time (budget.*), keep other '
            "load off this machine's cores, or lower budget.miss_rate"
        ),
    ),
    Alert(
        level=logging.WARNING,
        measure=lambda s: s.lost.share(least=20),
        raise_at=0.05,
        settle_below=0.02,
        text=lambda s: (
            f'{s.lost} frames of {s.topic} were published and not received in {s.window:.0f} s: '
            f'{s.transport.advice(s.message_bytes)}'
        ),
    ),
    Alert(
        level=logging.WARNING,
        measure=lambda s: sum(s.dropped.values()),
        raise_at=1,
        settle_below=1,
        text=lambda s: f'frames that cannot be used: {_listed(s.dropped)}; {remedies(s.dropped)}',
    ),
    Alert(
        level=logging.WARNING,
        measure=lambda s: sum(s.statistics.recent_faults.values()),
        raise_at=1,
        settle_below=1,
        text=lambda s: (
            f'input faults: {_listed(s.statistics.recent_faults)}; {remedies(s.statistics.recent_faults)}'
        ),
    ),
)

# A slowdown's limits are chosen, not measured: a clear change, and far enough apart not to flicker.
MODEL_ALERTS = (
    Alert(
        level=logging.ERROR,
        measure=lambda s: s.clock_missing,
        raise_at=1,
        settle_below=1,
        text=lambda s: (
            'use_sim_time is true and no /clock has come: start what publishes it (the simulator, ros2 bag '
            'play --clock, replay_camera --clock), or set use_sim_time to false'
        ),
    ),
    Alert(
        level=logging.ERROR,
        measure=lambda s: len(s.failure),
        raise_at=1,
        settle_below=1,
        text=lambda s: s.failure,
    ),
    Alert(
        level=logging.ERROR,
        measure=lambda s: len(s.faults.recent),
        raise_at=1,
        settle_below=1,
        text=lambda s: (
            f'an error that should not happen was survived, in {s.faults.recent}; the log has its traceback, '
            'please report it'
        ),
    ),
    Alert(
        level=logging.WARNING,
        measure=lambda s: len(s.scheduling.problem),
        raise_at=1,
        settle_below=1,
        text=lambda s: s.scheduling.problem,
    ),
    Alert(
        level=logging.WARNING,
        measure=lambda s: s.slowdown,
        raise_at=1.5,
        settle_below=1.25,
        text=lambda s: (
            f'this machine is {s.slowdown:.1f} times slower than its profile: answers come from cheaper '
            'paths; if that stays, deactivate the node, call ~/reprofile and activate it again'
        ),
    ),
)
