"""Deadlines for the frames of a camera, announced shortly before each frame."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from std_msgs.msg import Header

from impatient_ros.budgets import BudgetDistribution

__all__ = ['ANNOUNCED_AHEAD', 'DeadlineAnnouncer']

# Seconds before a frame's stamp at which its deadline is announced. Longer than an announcement is under way
# beside a busy process per core, and short against the period of frames: it replaces the deadline before it.
ANNOUNCED_AHEAD = 0.02


class DeadlineAnnouncer:
    """Publishes each frame's deadline as std_msgs/Header.

    The budgets of n frames are `budgets.sample(n, seed)`, in seconds from a frame's stamp.
    """

    def __init__(self, node: Node, topic: str, budgets: BudgetDistribution, seed: int) -> None:
        qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._publisher = node.create_publisher(Header, topic, qos)
        self._budgets, self._random = budgets, np.random.default_rng(seed)

    def announce(self, stamp_ns: int) -> int:
        """Announce the deadline of the next frame, whose stamp is to be `stamp_ns`; returns it in ns."""
        deadline_ns = stamp_ns + round(1e9 * float(self._budgets.sample(1, self._random)[0]))
        self._publisher.publish(Header(stamp=Time(nanoseconds=deadline_ns).to_msg()))
        return deadline_ns
