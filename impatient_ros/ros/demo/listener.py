"""Subscribes to the perception node's answers, frame statuses and diagnostics for the demo's frame log."""

import threading

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from vision_msgs.msg import Classification

from impatient_ros.demo.frame_log import FrameLog
from impatient_ros.ros.executor_thread import ExecutorThread
from impatient_ros.ros.messages import nanoseconds, parse_frame_status

__all__ = ['DemoListener']

KEEP_1000 = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=1000
)  # a thousand messages are half a minute of a 30 Hz camera: none is lost while this process has to wait


class DemoListener:
    """Fills the frame log in a thread of its own; `lock` guards it.

    `connected` is set by the first diagnostics of the active node. The subscriptions to answers and statuses
    were made before that to diagnostics, so the node knows them as well, and nothing that it publishes from
    then on is missed.
    """

    def __init__(self, frame_log: FrameLog, lock: threading.Lock, node: str, camera: str) -> None:
        self._frame_log, self._lock, self._camera = frame_log, lock, camera
        self.problem = ''
        self.connected = threading.Event()
        self._context = Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('demo', context=self._context)
        subscribe = self._node.create_subscription
        subscribe(Classification, f'/{node}/{camera}/classification', self._on_classification, KEEP_1000)
        subscribe(DiagnosticArray, f'/{node}/{camera}/frame_status', self._on_frame_status, KEEP_1000)
        subscribe(DiagnosticArray, '/diagnostics', self._on_diagnostics, KEEP_1000)
        self._executor = ExecutorThread(self._node, name='listener')
        self._executor.start()

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
                    self._frame_log.set_not_received(int(values['not_received']))
