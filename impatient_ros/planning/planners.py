"""The planner of every camera and mode, on one forecast of the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from impatient_ros.planning.forecast import Forecast
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.options import MODES, OptionTable
from impatient_ros.planning.overrun_control import OverrunControl, OverrunState
from impatient_ros.planning.planner import Planner

__all__ = ['Planners', 'PlanningState']


@dataclass(frozen=True)
class PlanningState:
    """The state of forecasting and overrun control, for display.

    Attributes:
        slowdown: factor on the profile's medians.
        error: median of |observed / forecast - 1| over the latest frames; None before the first one.
        cameras: how each camera's miss rate is held.
    """

    slowdown: float
    error: float | None
    cameras: Mapping[str, OverrunState]


class Planners:
    """What is learned from frames: one forecast, shared by all cameras, and an overrun control for each.

    Used by one thread at a time, but for `state`.

    Args:
        profiles: of the machine and runtime that will execute the plans, one per resolution, ascending.
        accuracies: validation accuracy of each path, 0..1.

    Raises:
        ValueError: not one accuracy per path.
    """

    def __init__(self, profiles: Sequence[LatencyProfile], accuracies: Sequence[float]) -> None:
        self.forecast = Forecast(profiles)
        # All modes at once: a frame that is the first one in its mode shall not take longer than others.
        self._options = {mode: OptionTable(mode, profiles, accuracies) for mode in MODES}
        self._controls: dict[str, OverrunControl] = {}  # by camera

    def planner(self, camera: str, mode: str, miss_rate: float) -> Planner:
        """The planner for a frame of `camera`, which is made known by its first one.

        Args:
            mode: one of `options.MODES`.
            miss_rate: accepted long-run rate of overruns of protected exits, 0..1.
        """
        control = self._controls.get(camera)
        if control is None:
            control = self._controls[camera] = OverrunControl(self.forecast, miss_rate)
        control.miss_rate = miss_rate
        return Planner(self._options[mode], self.forecast, control)

    def state(self) -> PlanningState:
        """A snapshot; from any thread."""
        cameras = {camera: control.state() for camera, control in self._controls.copy().items()}
        return PlanningState(self.forecast.slowdown, self.forecast.median_error(), cameras)
