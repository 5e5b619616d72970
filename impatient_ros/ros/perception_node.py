"""The node `perception`: camera frames in, the best answer by each frame's deadline out.

    ros2 run impatient_ros perception_node --ros-args --params-file config/perception.yaml

A lifecycle node: configure loads, warms up and profiles the model; activate subscribes and starts the
threads; deactivate stops them; cleanup lets go of the model. With `autostart` (the default) it takes the
first two steps by itself. Every step runs in a thread of its own, so that meanwhile requests are answered.
`impatient_ros.perception` says which thread owns what.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ListParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.utilities import get_rmw_implementation_identifier
from std_srvs.srv import Trigger

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.anytime.competing_labels import LabelError
from impatient_ros.checkpoint import CheckpointError
from impatient_ros.perception.diagnostics import Diagnostics, Feed, Status
from impatient_ros.perception.faults import Faults
from impatient_ros.perception.lifecycle import Lifecycle
from impatient_ros.perception.model_state import LoadedModel, model_state
from impatient_ros.perception.monitor import Monitor
from impatient_ros.perception.process_threads import computing
from impatient_ros.perception.progress import throttled
from impatient_ros.perception.thread_priority import switch_threads_every
from impatient_ros.perception.transport_advice import Transport
from impatient_ros.resources import resource_path
from impatient_ros.ros.camera_pipeline import CameraPipeline
from impatient_ros.ros.clock_watch import clock_missing, watch_clock
from impatient_ros.ros.environment import CAMERA_PROFILE, shared_memory_problem
from impatient_ros.ros.long_requests import LongRequests
from impatient_ros.ros.messages import diagnostics_message
from impatient_ros.ros.parameters import NodeParameters
from impatient_ros.ros.process import leave, serve
from impatient_ros.ros.requests import RequestRefusedError, guard_services
from impatient_ros.ros.transitions import serve_transitions
from impatient_ros.runtime import RuntimeUnavailableError

__all__ = ['PerceptionNode', 'main', 'run']

DEFAULT_MODEL = 'imagenet.safetensors'
# What configuring may fail with for reasons that are not the node's own.
CANNOT_LOAD = (CheckpointError, LabelError, RuntimeUnavailableError, OSError)


class PerceptionNode(LifecycleNode):
    """See the module; parameters and topics are in the README.

    Args:
        faults: takes what the node survives, and is told when a thread cannot be kept alive.
        options: as of a LifecycleNode.
    """

    def __init__(self, faults: Faults | None = None, **options: Any) -> None:
        super().__init__('perception', **options)
        self._faults = faults or Faults()
        self._failure = ''  # why the latest step of the lifecycle failed
        self._long_requests = LongRequests(self)
        self._lifecycle = Lifecycle(self._load, self._serve_cameras)
        self._monitor = Monitor()
        self.parameters = NodeParameters(
            self,
            state=lambda: self._long_requests.busy or self._lifecycle.state,
            changed=lambda parameters: self._reschedule(),
        )
        self._jump_handle = watch_clock(self, self._faults, lambda: self._lifecycle.running)
        transport = Transport(
            rmw=get_rmw_implementation_identifier(),
            profile=str(resource_path('config', CAMERA_PROFILE)),
            shared_memory=shared_memory_problem(os.environ),
        )
        if transport.shared_memory:
            self.get_logger().warning(transport.shared_memory)
        self._diagnostics = Diagnostics(self.get_fully_qualified_name(), transport)
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Wall time, as under a paused or slowed simulation the node must still be seen to live.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._diagnose, clock=steady)
        group = self._long_requests.group
        self.create_service(Trigger, '~/reprofile', self._reprofile, callback_group=group)
        self.create_service(Trigger, '~/reset_statistics', self._reset_statistics)
        serve_transitions(self, self._long_requests)
        guard_services(self, self._faults)
        if self.parameters.current.autostart:
            self._autostart = self.create_timer(0.0, self._start, clock=steady)

    def list_parameters(self, prefixes: list[str], depth: int) -> ListParametersResult:
        """Those that are set: `ros2 param dump` writes null for others, which is read back as a text."""
        listed = super().list_parameters(prefixes, depth)
        listed.names = [name for name in listed.names if self.get_parameter_or(name).value is not None]
        return listed

    # -- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        def configure() -> None:
            model = self._lifecycle.configure()
            self.get_logger().info(model.description)

        return self._step('configure', configure, CANNOT_LOAD)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        def activate() -> None:
            self._lifecycle.activate()
            cameras = [f'{name} on {feed.topic}' for name, feed in self._feeds().items()]
            self.get_logger().info('active: ' + ', '.join(cameras))

        return self._step('activate', activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._step('deactivate', self._lifecycle.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._step('clean up', self._lifecycle.clean_up)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._step('shut down', self._lifecycle.shut_down)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        # Success: the node is unconfigured afterwards and can be configured again, instead of finalized.
        self._faults.guarded('clean up after an error', self._lifecycle.clean_up)()
        return TransitionCallbackReturn.SUCCESS

    def _step(
        self, name: str, step: Callable[[], None], refusals: tuple[type[Exception], ...] = ()
    ) -> TransitionCallbackReturn:
        """Take a step of the lifecycle. rclpy would not say why one failed.

        Of what is among `refusals` the text says all, and the node stays in the state before; anything else
        is an error.
        """
        try:
            step()
        except refusals as error:
            self._failure = f'cannot {name}: {error}'
            self.get_logger().error(self._failure)
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # noqa: BLE001
            self._failure = f'cannot {name}: {error!r}'
            self._faults.survived(name, error, self._failure)
            return TransitionCallbackReturn.ERROR
        self._failure = ''
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop the threads and destroy the node; no executor may spin it any more."""
        self._long_requests.stop()
        self._lifecycle.stop()
        super().destroy_node()

    def _start(self) -> None:
        self._autostart.cancel()
        self._long_requests.start('starting', self._faults.guarded('start', self._configure_and_activate))

    def _configure_and_activate(self) -> None:
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()
        else:
            self.get_logger().error('not started; after mending that, configure and activate the node')

    def _load(self) -> LoadedModel:
        parameters = self.parameters.current
        path = os.path.expanduser(parameters.model) or str(resource_path('models', DEFAULT_MODEL))
        self.get_logger().info(f'loading {path}')
        with self._long_requests.abandonable(), computing(parameters.cpu_affinity):
            classifier = AnytimeClassifier.from_checkpoint(
                path,
                device=parameters.device,
                runtime=parameters.runtime,
                precision=parameters.precision,
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
        return CameraPipeline(self, model.classifier, self.parameters, self._monitor, self._faults)

    # -- what changes deadlines

    def _reschedule(self) -> None:
        if self._lifecycle.running is not None:
            self._lifecycle.running.perception.reschedule()

    # -- services and diagnostics

    async def _reprofile(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        model = self._lifecycle.model
        if model is None:
            raise RequestRefusedError('no model is loaded: configure the node first')
        if self._lifecycle.running is not None:
            raise RequestRefusedError(
                'the node is active, and frames would have no answers for seconds: deactivate it first'
            )
        await self._long_requests.start('profiling', partial(self._profile_anew, model.classifier))
        response.success, response.message = True, model.latencies
        return response

    def _profile_anew(self, classifier: AnytimeClassifier) -> None:
        with self._long_requests.abandonable(), computing(self.parameters.current.cpu_affinity):
            classifier.reprofile(self._progress())

    def _reset_statistics(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._monitor.reset()
        self._faults.reset()
        response.success, response.message = True, 'statistics start anew'
        return response

    def _diagnose(self) -> None:
        try:
            statuses = self._statuses()
        except Exception as error:  # noqa: BLE001  that nothing is known is to be known
            self._faults.survived('diagnostics', error)
            name = f'{self.get_fully_qualified_name()}: model'
            statuses = [Status(name, logging.ERROR, f'diagnostics could not be made: {error!r}', {}, '')]
        message = diagnostics_message(statuses, self.get_clock().now().to_msg())
        self._diagnostics_publisher.publish(message)

    def _statuses(self) -> list[Status]:
        parameters, running = self.parameters.current, self._lifecycle.running
        if running is not None:
            running.intake.count_publishers()
        model = model_state(
            self._lifecycle.state,
            self._lifecycle.model,
            active_for=self._lifecycle.active_for,
            mode=parameters.mode,
            reserve=None if running is None else running.perception.reserve(parameters.budget.reserve),
            scheduling=None if running is None else running.perception.scheduling(),
            clock_missing=clock_missing(self),
            failure=self._failure,
            faults=self._faults.counts(),
        )
        return self._diagnostics.build(self._monitor.snapshot(), model, self._feeds())

    def _feeds(self) -> dict[str, Feed]:
        """By camera; the topic's name is the one that results from remapping and namespace."""
        running = self._lifecycle.running
        return {
            camera.name: Feed(
                self.resolve_topic_name(camera.topic),
                0 if running is None else running.intake.message_bytes(camera.name),
            )
            for camera in self.parameters.current.cameras
        }

    def _progress(self) -> Callable[[float, str], None]:
        say = throttled(lambda text: self.get_logger().info(f'profiling: {text}'))

        def report(share: float, text: str) -> None:
            self._long_requests.check()
            say(share, text)

        return report


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit code."""
    return serve(PerceptionNode, 'perception', args)


def run() -> NoReturn:
    """The program."""
    leave(main())


if __name__ == '__main__':
    run()
