"""/diagnostics, once a second: how the cameras and the model are doing, and what people should know.

    statuses = diagnostics.build(monitor.snapshot(), model, feeds)

Counts are totals since the last reset; rates, shares and quantiles are of the monitor's window. Alerts are
logged when they come up and when all is fine again, not with every message.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from impatient_ros.perception.alerts import CAMERA_ALERTS, MODEL_ALERTS, Alerts, CameraSituation, Notice
from impatient_ros.perception.frame_record import Outcome
from impatient_ros.perception.model_state import ModelState
from impatient_ros.perception.monitor import Snapshot
from impatient_ros.perception.statistics import CameraStatistics
from impatient_ros.perception.transport_advice import Transport
from impatient_ros.planning.overrun_control import OverrunState

__all__ = ['Diagnostics', 'Feed', 'Status']

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """How a camera or the model is doing; `level` is one of `logging` (INFO: fine)."""

    name: str
    level: int
    text: str
    values: Mapping[str, str]
    hardware_id: str


@dataclass(frozen=True)
class Feed:
    """Where a camera's images come from: the topic's name in full, and the bytes of the latest image."""

    topic: str
    message_bytes: int = 0


class Diagnostics:
    """Builds the reports of one node. Not thread-safe: it belongs to the timer that publishes."""

    def __init__(self, node: str = 'perception', transport: Transport | None = None) -> None:
        self._node = node
        self._transport = transport or Transport()
        self._cameras: dict[str, Alerts] = {}
        self._model = Alerts(MODEL_ALERTS)

    def build(self, snapshot: Snapshot, model: ModelState, feeds: Mapping[str, Feed]) -> list[Status]:
        """A status for each camera of `feeds`, then one for the model."""
        if model.state != 'active':
            self._cameras.clear()
        statuses = [self._camera(name, feed, snapshot, model) for name, feed in feeds.items()]
        text = model.state
        if text == 'active':
            text = f'{model.runtime} on {model.device}, {model.precision}, {model.mode}'
        raised = self._raised('model', self._model, model)
        return [*statuses, self._status('model', text, raised, _model_values(model), model.device)]

    def _camera(self, name: str, feed: Feed, snapshot: Snapshot, model: ModelState) -> Status:
        statistics = snapshot.cameras.get(name)
        if statistics is None:
            return self._status(name, model.state, (), {}, name)
        values = {'topic': feed.topic} | _values(statistics, model.overruns.get(name))
        if model.state != 'active':
            return self._status(name, model.state, (), values, name)
        silent = min(statistics.silent, model.active_for)
        situation = CameraSituation(
            statistics, feed.topic, silent, snapshot.window, self._transport, feed.message_bytes
        )
        alerts = self._cameras.setdefault(name, Alerts(CAMERA_ALERTS))
        text = f'{statistics.rate:.1f} frames/s, {statistics.answer_rate:.1f} answers/s'
        return self._status(name, text, self._raised(name, alerts, situation), values, name)

    @staticmethod
    def _raised(name: str, alerts: Alerts, situation: object) -> Sequence[Notice]:
        raised, news = alerts.update(situation)
        for notice in news:
            _log.log(notice.level, '%s: %s', name, notice.text)
        return raised

    def _status(
        self, name: str, text: str, raised: Sequence[Notice], values: dict[str, str], hardware_id: str
    ) -> Status:
        level = max((notice.level for notice in raised), default=logging.INFO)
        text = '; '.join(notice.text for notice in raised) or text
        return Status(f'{self._node}: {name}', level, text, values, hardware_id)


def _values(statistics: CameraStatistics, overruns: OverrunState | None) -> dict[str, str]:
    """A camera's values; `paths_used` counts the window's answers per path, the cheapest first."""
    return {
        'rate_hz': f'{statistics.rate:.2f}',
        'answer_rate_hz': f'{statistics.answer_rate:.2f}',
        'paths_used': '; '.join(f'{path}: {count}' for path, count in statistics.recent_paths.items()),
        'slack_min_s': _number(statistics.slack_min),
        'slack_p01_s': _number(statistics.slack_p01),
        'slack_p50_s': _number(statistics.slack_p50),
        'slack_p99_s': _number(statistics.slack_p99),
        'miss_rate': _number(statistics.miss_rate),
        'overrun_rate': _number(statistics.overrun_rate),
        **_overrun_values(overruns),
        'slowdown': _number(statistics.slowdown),
        'frames': str(statistics.frames),
        **{outcome.value: str(statistics.counts.get(outcome, 0)) for outcome in Outcome},
        'arrived_late': str(statistics.arrived_late),
        'unknown_answers': str(statistics.unknown),
        'not_received': str(statistics.not_received),
        'input_faults': str(sum(statistics.faults.values())),
        **{f'input_faults.{name}': str(count) for name, count in sorted(statistics.faults.items())},
        **{f'dropped.{reason}': str(count) for reason, count in sorted(statistics.reasons.items())},
    }


def _overrun_values(overruns: OverrunState | None) -> dict[str, str]:
    """How a camera's miss rate is held, counted since the profile was made; empty before its first frame."""
    return {
        'overrun_margin': _number(None if overruns is None else overruns.margin),
        'protected_exits': str(0 if overruns is None else overruns.protected),
        'protected_overrun_rate': _number(None if overruns is None else overruns.overrun_rate),
    }


def _model_values(model: ModelState) -> dict[str, str]:
    return {
        'state': model.state,
        'model': model.model,
        'device': model.device,
        'runtime': model.runtime,
        'precision': model.precision,
        'mode': model.mode,
        'resolutions': ' '.join(map(str, model.resolutions)),
        'exits': str(model.exits),
        'slowdown': _number(model.slowdown),
        'reserve_s': _number(model.reserve),
        'prediction_error': _number(model.prediction_error),
        'realtime_priority': str(model.scheduling.priority),
        'realtime_threads': str(model.scheduling.threads),
        'busiest_core': str(model.scheduling.busiest_core),
        'busiest_core_share': _number(model.scheduling.busiest_share),
        'refused_requests': str(model.faults.refused),
        'internal_errors': str(sum(model.faults.errors.values())),
        **{f'internal_errors.{name}': str(count) for name, count in sorted(model.faults.errors.items())},
    }


def _number(value: float | None) -> str:
    return '' if value is None else f'{value:.6g}'
