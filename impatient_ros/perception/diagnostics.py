"""/diagnostics, once a second: how the cameras and the model are doing, and what people should know.

    statuses = diagnostics.build(monitor.snapshot(), model, topics)

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
from impatient_ros.planning.overrun_control import OverrunState

__all__ = ['Diagnostics', 'Status']

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """How a camera or the model is doing; `level` is one of `logging` (INFO: fine)."""

    name: str
    level: int
    text: str
    values: Mapping[str, str]
    hardware_id: str


class Diagnostics:
    """Builds the reports of one node. Not thread-safe: it belongs to the timer that publishes.

    `profile` is the path of the DDS profile that people are pointed to when images do not arrive.
    """

    def __init__(self, node: str = 'perception', profile: str = 'config/fastdds.xml') -> None:
        self._node = node
        self._profile = profile
        self._cameras: dict[str, Alerts] = {}
        self._model = Alerts(MODEL_ALERTS)

    def build(self, snapshot: Snapshot, model: ModelState, topics: Mapping[str, str]) -> list[Status]:
        """A status for each camera of `topics` (camera to topic), then one for the model."""
        if model.state != 'active':
            self._cameras.clear()
        statuses = [self._camera(name, topic, snapshot, model) for name, topic in topics.items()]
        text = f'{model.runtime} on {model.device}, {model.mode}' if model.state == 'active' else model.state
        raised = self._raised('model', self._model, model)
        return [*statuses, self._status('model', text, raised, _model_values(model), model.device)]

    def _camera(self, name: str, topic: str, snapshot: Snapshot, model: ModelState) -> Status:
        statistics = snapshot.cameras.get(name)
        if statistics is None:
            return self._status(name, model.state, (), {}, name)
        values = _values(statistics, model.overruns.get(name))
        if model.state != 'active':
            return self._status(name, model.state, (), values, name)
        silent = min(statistics.silent, model.active_for)
        situation = CameraSituation(statistics, topic, silent, snapshot.window, self._profile)
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
        'mode': model.mode,
        'resolutions': ' '.join(map(str, model.resolutions)),
        'exits': str(model.exits),
        'slowdown': _number(model.slowdown),
        'reserve_s': _number(model.reserve),
        'prediction_error': _number(model.prediction_error),
        'refused_requests': str(model.faults.refused),
        'internal_errors': str(sum(model.faults.errors.values())),
        **{f'internal_errors.{name}': str(count) for name, count in sorted(model.faults.errors.items())},
    }


def _number(value: float | None) -> str:
    return '' if value is None else f'{value:.6g}'
