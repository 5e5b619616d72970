"""The node `perception`: camera frames in, the best answer by each frame's deadline out.

    ros2 run impatient_ros perception_node --ros-args --params-file config/perception.yaml

A lifecycle node: configure loads, warms up and profiles the model; activate subscribes and starts the
threads; deactivate stops them; cleanup lets go of the model. With `autostart` (the default) it takes the
first two steps by itself. Threads: the executor's (parameters, services, timers), one that takes images
(`intake`), one that classifies (`perception`), one that sends answers when their deadline comes (`delivery`).
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NoReturn

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.checkpoint import CheckpointError
from impatient_ros.perception.monitor import Monitor
from impatient_ros.perception.thread_priority import switch_threads_every
from impatient_ros.perception.worker import Perception
from impatient_ros.planning.forecast import ForecastState
from impatient_ros.resources import resource_path
from impatient_ros.ros.cv_bridge_converter import cv_bridge_converter
from impatient_ros.ros.diagnostics import Diagnostics, ModelState
from impatient_ros.ros.image_intake import ImageIntake
from impatient_ros.ros.messages import nanoseconds
from impatient_ros.ros.outputs import NodeOutputs
from impatient_ros.ros.parameters import NodeParameters, PerceptionParameters
from impatient_ros.ros.process import leave, serve
from impatient_ros.runtime import RuntimeUnavailableError

__all__ = ['PerceptionNode', 'main', 'run']

DEFAULT_MODEL = 'clothing10.safetensors'
DDS_PROFILE = 'fastdds.xml'
TRANSPORTS = {'raw': Image, 'compressed': CompressedImage}
COMPLAINT_PERIOD = 5.0  # seconds between two log lines about unusable frames


class PerceptionNode(LifecycleNode):
    """See the module; parameters and topics are in the README."""

    def __init__(self, **options: Any) -> None:
        super().__init__('perception', **options)
        self._state = 'unconfigured'
        self._classifier: AnytimeClassifier | None = None
        self._perception: Perception | None = None
        self._intake: ImageIntake | None = None
        self._outputs: NodeOutputs | None = None
        self._publishers_seen: dict[str, int] = {}
        self._subscriptions_of_deadlines: list[Any] = []
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._active_since = 0.0
        self._model_path = ''
        self.monitor = Monitor()
        self.parameters = NodeParameters(self, state=lambda: self._state, changed=self._adopt)
        jump = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1))
        self._jump_handle = self.get_clock().create_jump_callback(jump, post_callback=self._clock_jumped)
        self._diagnostics = Diagnostics(
            self.get_fully_qualified_name(), str(resource_path('config', DDS_PROFILE))
        )
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Wall time, as under a paused or slowed simulation the node must still be seen to live.
        self.create_timer(1.0, self._diagnose, clock=self._steady)
        self.create_service(Trigger, '~/reprofile', self._reprofile)
        self.create_service(Trigger, '~/reset_statistics', self._reset_statistics)
        if self.parameters.current.autostart:
            self._autostart = self.create_timer(0.0, self._start, clock=self._steady)

    # -- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        parameters = self.parameters.current
        try:
            model = parameters.model or str(resource_path('models', DEFAULT_MODEL))
            self.get_logger().info(f'loading {model}')
            self._classifier = AnytimeClassifier.from_checkpoint(
                model,
                device=parameters.device,
                runtime=parameters.runtime,
                cpu_threads=parameters.cpu_threads,
                mode=parameters.mode,
                miss_rate=parameters.budget.miss_rate,
                confidence_threshold=parameters.confidence_threshold,
                progress=self._progress(),
            )
        except (CheckpointError, RuntimeUnavailableError, OSError) as error:
            self.get_logger().error(f'cannot configure: {error}')
            return TransitionCallbackReturn.FAILURE
        costs = ', '.join(f'{cost * 1e3:.1f}' for cost in self._classifier.profile.costs('contract'))
        runtime, self._model_path = self._classifier.runtime, model
        self.get_logger().info(
            f'{self._classifier.exits} exits on {runtime.name} ({runtime.device}), median {costs} ms'
        )
        self._state = 'inactive'
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        parameters = self.parameters.current
        if self._classifier is None:
            return TransitionCallbackReturn.ERROR
        switch_threads_every(parameters.switch_interval)
        names = parameters.camera_names
        self.monitor = Monitor(names)
        self._outputs = NodeOutputs(self, self._classifier.labels, names, self.monitor, self.parameters)
        self._perception = Perception(
            self._classifier,
            lambda: self.parameters.current,
            self._outputs,
            self._ros_now,
            complain=self._complain,
            converter=cv_bridge_converter(),
        )
        self._intake = ImageIntake(self, self._receive)
        for camera in parameters.cameras:
            self._intake.subscribe(camera.name, TRANSPORTS[camera.transport], camera.topic)
        self._subscribe_to_deadlines(names)
        self._perception.start()
        self._intake.start()
        self._state, self._active_since = 'active', time.monotonic()
        self.get_logger().info(
            'active: ' + ', '.join(f'{camera.name} on {camera.topic}' for camera in parameters.cameras)
        )
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        self._state = 'inactive'
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._classifier = None
        self._state = 'unconfigured'
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        self._classifier = None
        self._state = 'finalized'
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        self._classifier = None
        self._state = 'unconfigured'
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop the threads and destroy the node; no executor may spin it any more."""
        self._stop()
        super().destroy_node()

    def _start(self) -> None:
        self._autostart.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()
        else:
            self.get_logger().error('not started; after mending that, configure and activate the node')

    def _stop(self) -> None:
        # In this order nothing is handed to a part that has ended, and every frame has its record.
        if self._intake is not None:
            self._intake.stop()
        if self._perception is not None:
            self._perception.stop()
        if self._outputs is not None:
            self._outputs.destroy()
        for subscription in self._subscriptions_of_deadlines:
            self.destroy_subscription(subscription)
        self._subscriptions_of_deadlines.clear()
        self._intake = self._perception = self._outputs = None

    def _subscribe_to_deadlines(self, cameras: tuple[str, ...]) -> None:
        # A best-effort subscription meets every publisher.
        qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        for camera in (None, *cameras):
            topic = '~/deadline' if camera is None else f'~/{camera}/deadline'
            self._subscriptions_of_deadlines.append(
                self.create_subscription(Header, topic, partial(self._announce, camera), qos)
            )

    # -- what comes in

    def _receive(self, camera: str, message: Any, sequence: int | None) -> None:
        perception = self._perception
        if perception is None:
            return
        lost = perception.receive(camera, message, sequence, self._publishers_seen.get(camera, 1))
        if lost:
            self.monitor.not_received(camera, lost)

    def _announce(self, camera: str | None, header: Header) -> None:
        if self._perception is not None:
            self._perception.deadlines.announce(nanoseconds(header.stamp), camera)
            self._perception.reschedule()

    def _adopt(self, parameters: PerceptionParameters) -> None:
        if self._classifier is not None:
            self._classifier.mode = parameters.mode
            self._classifier.confidence_threshold = parameters.confidence_threshold
        if self._perception is not None:
            self._perception.reschedule()

    def _clock_jumped(self, jump: Any) -> None:
        if self._perception is not None:
            self.get_logger().warning('the ROS clock jumped back; waiting frames and deadlines are forgotten')
            self._perception.clock_jumped_back()

    # -- services and diagnostics

    def _reprofile(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._classifier is None:
            response.message = 'no model is loaded; configure the node first'
            return response
        profile = self._classifier.reprofile(self._progress())
        costs = ', '.join(f'{cost * 1e3:.1f}' for cost in profile.costs('contract'))
        response.success, response.message = True, f'median {costs} ms'
        return response

    def _reset_statistics(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.monitor.reset()
        response.success, response.message = True, 'statistics start anew'
        return response

    def _diagnose(self) -> None:
        parameters, classifier, perception = self.parameters.current, self._classifier, self._perception
        # Asking the graph is slow; the thread that takes images uses what was so within the last second.
        if self._intake is not None:
            for camera in parameters.camera_names:
                self._publishers_seen[camera] = self._intake.publishers(camera)
        model = ModelState(self._state)
        if classifier is not None:
            model = ModelState(
                self._state,
                active_for=time.monotonic() - self._active_since,
                model=self._model_path,
                device=classifier.runtime.device,
                runtime=classifier.runtime.name,
                mode=classifier.mode,
                exits=classifier.exits,
                slowdown=classifier.forecast.level,
                more=_forecast_values(classifier.forecast.state()),
                reserve=perception.delivery.reserve(parameters.budget.reserve) if perception else None,
            )
        topics = {camera.name: camera.topic for camera in parameters.cameras}
        stamp = self.get_clock().now().to_msg()
        message = self._diagnostics.build(self.monitor.snapshot(), model, stamp, topics)
        self._diagnostics_publisher.publish(message)

    # -- helpers

    def _ros_now(self) -> int:
        return self.get_clock().now().nanoseconds

    def _complain(self, camera: str, text: str) -> None:
        self.get_logger().warning(f'{camera}: {text}', throttle_duration_sec=COMPLAINT_PERIOD)

    def _progress(self) -> Any:
        last = [time.monotonic() - 1.0]

        def report(share: float, text: str) -> None:
            now = time.monotonic()
            if share >= 1.0 or now - last[0] >= 1.0:
                last[0] = now
                self.get_logger().info(f'profiling: {share:4.0%} {text}')

        return report


def _forecast_values(state: ForecastState) -> dict[str, str]:
    """The forecast for /diagnostics."""
    return {
        'promise_margin': f'{state.margin:.4g}',
        'prediction_error': '' if state.error is None else f'{state.error:.4g}',
        'promises': str(state.promises),
        'promise_overrun_rate': '' if state.overrun_rate is None else f'{state.overrun_rate:.4g}',
    }


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit code."""
    return serve(PerceptionNode, 'perception', args)


def run() -> NoReturn:
    """The program."""
    leave(main())


if __name__ == '__main__':
    run()
