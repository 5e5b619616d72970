"""/diagnostics, once a second: how the cameras and the model are doing, and what people should know.

    publisher.publish(diagnostics.build(monitor.snapshot(), model, stamp, topics))

Counts are totals since the last reset; rates, shares and quantiles are of the monitor's window. Concerns
are logged when they come up and when all is fine again, not with every message.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from std_msgs.msg import Header

from impatient_ros.perception.alerts import CAMERA_CONCERNS, MODEL_CONCERNS, CameraSituation, Concerns, Line
from impatient_ros.perception.frame_record import Outcome
from impatient_ros.perception.monitor import CameraStatistics, Snapshot
from impatient_ros.ros.messages import diagnostic_status

__all__ = ['Diagnostics', 'ModelState']

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelState:
    """What the node says of its model and runtime; seconds."""

    state: str = 'active'  # of the lifecycle: unconfigured, inactive, active
    active_for: float = math.inf  # since the activation
    model: str = ''
    device: str = ''
    runtime: str = ''
    mode: str = ''
    exits: int = 0
    slowdown: float = 1.0
    reserve: float | None = None  # kept for waking up and publishing
    more: Mapping[str, str] = field(default_factory=dict)  # further values, shown as they are


class Diagnostics:
    """Builds the reports of one node. Not thread-safe: it belongs to the timer that publishes.

    `profile` is the path of the DDS profile that people are pointed to when images do not arrive.
    """

    def __init__(self, node: str = 'perception', profile: str = 'config/fastdds.xml') -> None:
        self._node = node
        self._profile = profile
        self._cameras: dict[str, Concerns] = {}
        self._model = Concerns(MODEL_CONCERNS)

    def build(
        self, snapshot: Snapshot, model: ModelState, stamp: Time, topics: Mapping[str, str] | None = None
    ) -> DiagnosticArray:
        """The message at `stamp` on the model and on the cameras of `topics` (None: all that were seen)."""
        topics = dict.fromkeys(snapshot.cameras, 'its topic') if topics is None else topics
        if model.state != 'active':
            self._cameras.clear()
        statuses = [self._camera(name, topic, snapshot, model) for name, topic in topics.items()]
        text = f'{model.runtime} on {model.device}, {model.mode}' if model.state == 'active' else model.state
        raised = self._raised('model', self._model, model)
        statuses.append(self._status('model', text, raised, _model_values(model), model.device))
        return DiagnosticArray(header=Header(stamp=stamp), status=statuses)

    def _camera(self, name: str, topic: str, snapshot: Snapshot, model: ModelState) -> DiagnosticStatus:
        statistics = snapshot.cameras.get(name)
        if statistics is None:
            return self._status(name, model.state, (), {}, name)
        values = _values(statistics, model.exits)
        if model.state != 'active':
            return self._status(name, model.state, (), values, name)
        silent = min(statistics.silent, model.active_for)
        situation = CameraSituation(statistics, topic, silent, snapshot.window, self._profile)
        concerns = self._cameras.setdefault(name, Concerns(CAMERA_CONCERNS))
        text = f'{statistics.rate:.1f} frames/s, {statistics.answer_rate:.1f} answers/s'
        return self._status(name, text, self._raised(name, concerns, situation), values, name)

    @staticmethod
    def _raised(name: str, concerns: Concerns, situation: object) -> Sequence[Line]:
        raised, news = concerns.update(situation)
        for line in news:
            _log.log(line.level, '%s: %s', name, line.text)
        return raised

    def _status(
        self, name: str, text: str, raised: Sequence[Line], values: dict[str, str], hardware_id: str
    ) -> DiagnosticStatus:
        level = DiagnosticStatus.OK
        if raised:
            error = any(line.level == logging.ERROR for line in raised)
            level = DiagnosticStatus.ERROR if error else DiagnosticStatus.WARN
            text = '; '.join(line.text for line in raised)
        return diagnostic_status(f'{self._node}: {name}', level, text, values, hardware_id)


def _values(statistics: CameraStatistics, exits: int) -> dict[str, str]:
    """A camera's values; `exits_used` counts the window's answers per exit, the first exit first."""
    exits = max(exits, *(index + 1 for index in statistics.recent_exits), 0)
    return {
        'rate_hz': f'{statistics.rate:.2f}',
        'answer_rate_hz': f'{statistics.answer_rate:.2f}',
        'exits_used': ' '.join(str(statistics.recent_exits.get(index, 0)) for index in range(exits)),
        'slack_min_s': _number(statistics.slack_min),
        'slack_p01_s': _number(statistics.slack_p01),
        'slack_p50_s': _number(statistics.slack_p50),
        'slack_p99_s': _number(statistics.slack_p99),
        'miss_rate': _number(statistics.miss_rate),
        'overrun_rate': _number(statistics.overrun_rate),
        'slowdown': _number(statistics.slowdown),
        'frames': str(statistics.frames),
        **{outcome.value: str(statistics.counts.get(outcome, 0)) for outcome in Outcome},
        'not_received': str(statistics.not_received),
        'input_faults': str(sum(statistics.faults.values())),
        **{f'input_faults.{name}': str(count) for name, count in sorted(statistics.faults.items())},
        **{f'dropped.{reason}': str(count) for reason, count in sorted(statistics.reasons.items())},
    }


def _model_values(model: ModelState) -> dict[str, str]:
    return {
        'state': model.state,
        'model': model.model,
        'device': model.device,
        'runtime': model.runtime,
        'mode': model.mode,
        'exits': str(model.exits),
        'slowdown': _number(model.slowdown),
        'reserve_s': _number(model.reserve),
        **model.more,
    }


def _number(value: float | None) -> str:
    return '' if value is None else f'{value:.6g}'
