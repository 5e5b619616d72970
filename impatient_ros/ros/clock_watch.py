"""The node's ROS clock: what simulated time does to the frames, and whether there is any."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import ClockChange, JumpHandle, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node

from impatient_ros.perception.faults import Faults
from impatient_ros.ros.camera_pipeline import CameraPipeline

__all__ = ['clock_missing', 'watch_clock']


def watch_clock(node: Node, faults: Faults, running: Callable[[], CameraPipeline | None]) -> JumpHandle:
    """Tell what serves the cameras, while anything does, of steps of simulated time and of jumps back.

    The handle must be kept. Called on the thread that serves the node.
    """

    def jumped(jump: TimeJump) -> None:
        pipeline, step_ns = running(), jump.delta.nanoseconds
        if pipeline is None:
            return
        changed = jump.clock_change != ClockChange.ROS_TIME_NO_CHANGE
        if step_ns > 0 and not changed:
            pipeline.perception.clock_advanced(step_ns)
            return
        why = (
            'is another one, since use_sim_time was set'
            if changed
            else 'jumped back (nothing was started anew? then look for a second publisher of /clock)'
        )
        node.get_logger().warning(f'the ROS clock {why}; waiting frames and deadlines are forgotten')
        pipeline.perception.clock_jumped_back()

    threshold = JumpThreshold(min_forward=Duration(nanoseconds=1), min_backward=Duration(nanoseconds=-1))
    # Called from within rcl, which no exception may pass.
    callback = faults.guarded('clock jump', jumped)
    return node.get_clock().create_jump_callback(threshold, post_callback=callback)


def clock_missing(node: Node) -> bool:
    """Whether the node is to take its time from /clock and nothing has come there."""
    clock = node.get_clock()
    return bool(clock.ros_time_is_active and clock.now().nanoseconds == 0)
