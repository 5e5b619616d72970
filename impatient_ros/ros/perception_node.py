"""The node `perception`: camera frames in, the best answer by each frame's deadline out.

    ros2 run impatient_ros perception_node --ros-args --params-file config/perception.yaml

A lifecycle node: configure loads, warms up and profiles the model; activate subscribes and starts the
threads; deactivate stops them; cleanup lets go of the model. With `autostart` (the default) it takes the
first two steps by itself. `impatient_ros.perception` says which thread owns what.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NoReturn

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.anytime.competing_labels import LabelError
from impatient_ros.checkpoint import CheckpointError
from impatient_ros.perception.diagnostics import Diagnostics
from impatient_ros.perception.lifecycle import Lifecycle
from impatient_ros.perception.model_state import LoadedModel, model_state
from impatient_ros.perception.monitor import Monitor
from impatient_ros.perception.progress import throttled
from impatient_ros.perception.thread_priority import switch_threads_every
from impatient_ros.resources import resource_path
from impatient_ros.ros.camera_pipeline import CameraPipeline
from impatient_ros.ros.environment import CAMERA_PROFILE
from impatient_ros.ros.messages import diagnostics_message
from impatient_ros.ros.parameters import NodeParameters
from impatient_ros.ros.process import leave, serve
from impatient_ros.runtime import RuntimeUnavailableError

__all__ = ['PerceptionNode', 'main', 'run']

DEFAULT_MODEL = 'imagenet.safetensors'

_log = logging.getLogger(__name__)


class PerceptionNode(LifecycleNode):
    """See the module; parameters and topics are in the README."""

    def __init__(self, **options: Any) -> None:
        super().__init__('perception', **options)
        self._lifecycle = Lifecycle(self._load, self._serve_cameras)
        self._monitor = Monitor()
        self.parameters = NodeParameters(
            self, state=lambda: self._lifecycle.state, changed=lambda parameters: self._reschedule()
        )
        jump = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1))
        self._jump_handle = self.get_clock().create_jump_callback(jump, post_callback=self._clock_jumped)
        self._diagnostics = Diagnostics(
            self.get_fully_qualified_name(), str(resource_path('config', CAMERA_PROFILE))
        )
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Wall time, as under a paused or slowed simulation the node must still be seen to live.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._diagnose, clock=steady)
        self.create_service(Trigger, '~/reprofile', self._reprofile)
        self.create_service(Trigger, '~/reset_statistics', self._reset_statistics)
        if self.parameters.current.autostart:
            self._autostart = self.create_timer(0.0, self._start, clock=steady)

    # -- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            model = self._lifecycle.configure()
        except (CheckpointError, LabelError, RuntimeUnavailableError, OSError) as error:
            self.get_logger().error(f'cannot configure: {error}')
            return TransitionCallbackReturn.FAILURE
        except Exception:  # noqa: BLE001
            _log.exception('cannot configure')  # rclpy would not say so
            return TransitionCallbackReturn.ERROR
        self.get_logger().info(model.description)
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._lifecycle.activate()
        except Exception:  # noqa: BLE001
            _log.exception('cannot activate')
            return TransitionCallbackReturn.ERROR
        cameras = self.parameters.current.cameras
        self.get_logger().info('active: ' + ', '.join(f'{each.name} on {each.topic}' for each in cameras))
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._lifecycle.deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._lifecycle.clean_up()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._lifecycle.shut_down()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._lifecycle.clean_up()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop the threads and destroy the node; no executor may spin it any more."""
        self._lifecycle.stop()
        super().destroy_node()

    def _start(self) -> None:
        self._autostart.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()
        else:
            self.get_logger().error('not started; after mending that, configure and activate the node')

    def _load(self) -> LoadedModel:
        parameters = self.parameters.current
        path = parameters.model or str(resource_path('models', DEFAULT_MODEL))
        self.get_logger().info(f'loading {path}')
        classifier = AnytimeClassifier.from_checkpoint(
            path,
            device=parameters.device,
            runtime=parameters.runtime,
            cpu_threads=parameters.cpu_threads,
            memory_limit=parameters.memory_limit,
            labels=parameters.labels,
            fit=parameters.fit,
            progress=self._progress(),
        )
        return LoadedModel(path, classifier)

    def _serve_cameras(self, model: LoadedModel) -> CameraPipeline:
        parameters = self.parameters.current
        switch_threads_every(parameters.switch_interval)
        self._monitor = Monitor(parameters.camera_names)
        return CameraPipeline(self, model.classifier, self.parameters, self._monitor)

    # -- what changes deadlines

    def _reschedule(self) -> None:
        if self._lifecycle.running is not None:
            self._lifecycle.running.perception.reschedule()

    def _clock_jumped(self, jump: Any) -> None:
        if self._lifecycle.running is not None:
            self.get_logger().warning('the ROS clock jumped back; waiting frames and deadlines are forgotten')
            self._lifecycle.running.perception.clock_jumped_back()

    # -- services and diagnostics

    def _reprofile(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        model = self._lifecycle.model
        if model is None:
            response.message = 'no model is loaded; configure the node first'
            return response
        model.classifier.reprofile(self._progress())
        response.success, response.message = True, model.latencies
        return response

    def _reset_statistics(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._monitor.reset()
        response.success, response.message = True, 'statistics start anew'
        return response

    def _diagnose(self) -> None:
        parameters, running = self.parameters.current, self._lifecycle.running
        if running is not None:
            running.intake.count_publishers()
        model = model_state(
            self._lifecycle.state,
            self._lifecycle.model,
            active_for=self._lifecycle.active_for,
            mode=parameters.mode,
            reserve=None if running is None else running.perception.reserve(parameters.budget.reserve),
        )
        topics = {camera.name: camera.topic for camera in parameters.cameras}
        statuses = self._diagnostics.build(self._monitor.snapshot(), model, topics)
        message = diagnostics_message(statuses, self.get_clock().now().to_msg())
        self._diagnostics_publisher.publish(message)

    def _progress(self) -> Callable[[float, str], None]:
        return throttled(lambda text: self.get_logger().info(f'profiling: {text}'))


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit code."""
    return serve(PerceptionNode, 'perception', args)


def run() -> NoReturn:
    """The program."""
    leave(main())


if __name__ == '__main__':
    run()
