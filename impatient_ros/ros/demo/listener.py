"""Subscribes to the perception node's answers, frame statuses and diagnostics for the demo's frame log."""

import threading
from collections.abc import Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from vision_msgs.msg import Classification

from impatient_ros.demo.frame_log import FrameLog
from impatient_ros.ros.executor_thread import ExecutorThread
from impatient_ros.ros.initialization import initialize
from impatient_ros.ros.messages import nanoseconds, parse_frame_status

__all__ = ['DemoListener']

KEEP_1000 = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=1000
)  # a thousand messages are half a minute of a 30 Hz camera: none is lost while this process has to wait

PATIENCE = 10.0  # s for the node to answer a request


class DemoListener:
    """Fills a frame log in a thread of its own; `lock` guards it.

    `connected` is set by the first diagnostics of the active node. The subscriptions to answers and statuses
    were made before that to diagnostics, so the node knows them as well, and nothing that it publishes from
    then on is missed.
    """

    def __init__(self, frame_log: FrameLog, lock: threading.Lock, node: str, camera: str) -> None:
        self._frame_log, self._lock, self._camera = frame_log, lock, camera
        self._perception = node
        self._not_received = self._not_received_before = 0  # as the node counts, from its start
        self.problem = ''
        self.connected = threading.Event()
        self._context = Context()
        initialize([], self._context)
        self._node = rclpy.create_node('demo', context=self._context)
        subscribe = self._node.create_subscription
        subscribe(Classification, f'/{node}/{camera}/classification', self._on_classification, KEEP_1000)
        subscribe(DiagnosticArray, f'/{node}/{camera}/frame_status', self._on_frame_status, KEEP_1000)
        subscribe(DiagnosticArray, '/diagnostics', self._on_diagnostics, KEEP_1000)
        self._executor = ExecutorThread(self._node, name='listener')
        self._executor.start()

    def fill(self, frame_log: FrameLog) -> None:
        """What comes from now on goes into another frame log; frames lost so far are not counted there."""
        with self._lock:
            self._frame_log, self._not_received_before = frame_log, self._not_received

    def expect_another_node(self) -> None:
        """The node has ended, and another one is to be started."""
        self.connected.clear()
        self._not_received = self._not_received_before = 0

    def parameters(self, names: Sequence[str]) -> dict[str, Any]:
        """The node's values of these parameters; of those that it does not have, None.

        Raises TimeoutError if it does not answer.
        """
        client = self._node.create_client(GetParameters, f'/{self._perception}/get_parameters')
        try:
            answered = threading.Event()
            if client.wait_for_service(PATIENCE):
                future = client.call_async(GetParameters.Request(names=list(names)))
                future.add_done_callback(lambda _: answered.set())
                if answered.wait(PATIENCE):
                    values = [parameter_value_to_python(value) for value in future.result().values]
                    return dict(zip(names, values, strict=True))
            raise TimeoutError(f'the node did not tell its parameters within {PATIENCE:g} s')
        finally:
            self._node.destroy_client(client)

    def close(self) -> None:
        self._executor.stop()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _on_classification(self, message: Classification) -> None:
        if message.results:
            best = message.results[0]
            with self._lock:
                self._frame_log.add_answer(nanoseconds(message.header.stamp), best.class_id, best.score)

    def _on_frame_status(self, message: DiagnosticArray) -> None:
        try:
            record = parse_frame_status(message)
        except ValueError as error:
            self.problem = str(error)
            return
        with self._lock:
            self._frame_log.add_status(nanoseconds(message.header.stamp), record)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if values.get('state') == 'active':
                self.connected.set()
            if status.hardware_id == self._camera and values.get('not_received', '').isdecimal():
                with self._lock:
                    self._not_received = int(values['not_received'])
                    self._frame_log.set_not_received(self._not_received - self._not_received_before)
