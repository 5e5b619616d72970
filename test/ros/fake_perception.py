"""Stands in for the perception node in the demo's tests: answers by a script, without a network.

The behaviour is the first argument; the rest is what the demo gives the node.
"""

import os
import signal
import sys

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Classification

from impatient_ros.perception.frame_record import FrameRecord, Outcome
from impatient_ros.ros.executor_thread import ExecutorThread
from impatient_ros.ros.messages import classification, diagnostic_status, frame_status, nanoseconds
from impatient_ros.ros.stop_signals import StopSignals

LABELS = ['lemon', 'orange']
TRIAL = 30  # frames with which the demo measures first, a multiple of the number of fates
FATES = [
    *[(Outcome.answered, index, '') for index in range(5)],
    (Outcome.late, 4, ''),
    (Outcome.missed, None, ''),
    (Outcome.infeasible, None, ''),
    (Outcome.superseded, None, ''),
    (Outcome.dropped, None, 'encoding'),
]


class FakePerception(Node):
    """Ends the n-th frame as FATES[n % 10] says; `behaviour` makes it misbehave."""

    def __init__(self, behaviour: str) -> None:
        super().__init__(
            'perception',
            allow_undeclared_parameters=True,
            automatically_declare_parameters_from_overrides=True,
        )
        self.behaviour, self.count, self.lost, self.deadline_ns = behaviour, 0, 0, 0
        camera = self.get_parameter('camera_names').value[0]
        topic = self.get_parameter(f'cameras.{camera}.topic').value
        kind = (
            CompressedImage
            if self.get_parameter(f'cameras.{camera}.transport').value == 'compressed'
            else Image
        )
        self.camera = camera
        self.answers = self.create_publisher(Classification, f'~/{camera}/classification', 10)
        self.statuses = self.create_publisher(DiagnosticArray, f'~/{camera}/frame_status', 10)
        self.diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(1.0, self.diagnose)
        qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Header, '~/deadline', self.announce, qos)
        self.create_subscription(kind, topic, self.receive, qos)

    def receive(self, image) -> None:
        self.count += 1
        if self.behaviour == 'die' and self.count == TRIAL + 6:
            self.get_logger().fatal('the network caught fire')
            os._exit(3)
        if self.behaviour in ('swallow', 'lose') and self.count > TRIAL and self.count % 10 == 0:
            self.lost += 1
            return
        outcome, exit_index, reason = FATES[(self.count - 1) % len(FATES)]
        answered = outcome in (Outcome.answered, Outcome.late)
        slack = {Outcome.answered: 0.01, Outcome.late: -0.002}.get(outcome)
        # Of its budget 1 ms is gone at the pick-up; an answer takes 3 ms besides the network.
        elapsed = None if slack is None else 0.003 + 0.001 * (exit_index + 1)
        record = FrameRecord(
            self.camera, 0.0, outcome, reason, exit_index, exit_index, exits=5,
            budget=self.budget_of(image.header), slack=slack, elapsed=elapsed,
        )  # fmt: skip
        status = frame_status(image.header, record)
        if self.count % 2:  # either may come first
            self.statuses.publish(status)
        if answered:
            self.answers.publish(classification(image.header, LABELS, [0.75, 0.25], 2))
        if not self.count % 2:
            self.statuses.publish(status)
        if self.behaviour == 'swallow' and self.count == TRIAL + 4:
            self.statuses.publish(status)

    def budget_of(self, header) -> float:
        """As announced for the frame, less 1 ms; the announcement went ahead of it."""
        return 1e-9 * (self.deadline_ns - nanoseconds(header.stamp)) - 0.001

    def announce(self, header) -> None:
        self.deadline_ns = nanoseconds(header.stamp)

    def diagnose(self) -> None:
        lost = self.lost if self.behaviour == 'lose' else 0
        camera = diagnostic_status('perception: camera', b'\0', '', {'not_received': str(lost)}, self.camera)
        model = diagnostic_status('perception: model', b'\0', '', {'state': 'active'}, 'cpu')
        self.diagnostics.publish(DiagnosticArray(status=[camera, model]))


def main() -> int:
    behaviour, arguments = sys.argv[1], sys.argv[2:]
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    ended = StopSignals((signal.SIGINT,))
    if behaviour == 'refuse':
        rclpy.create_node('perception').get_logger().error('cannot configure: no such model')
        ended.wait()
        return 0
    node = FakePerception(behaviour)
    node.get_logger().info('profiling: 100%')
    executor = ExecutorThread(node)
    executor.start()
    ended.wait()
    executor.stop()
    node.destroy_node()
    rclpy.shutdown()
    return 4 if behaviour == 'sulk' else 0


if __name__ == '__main__':
    sys.exit(main())
