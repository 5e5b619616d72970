"""What the attacks ask of the node: parameters that it must take, others that it must refuse, transitions."""

from __future__ import annotations

import math
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from robot import Robot
from std_srvs.srv import Trigger

__all__ = ['VALID', 'change_by_number', 'invalid_parameters', 'set_parameter', 'trigger']

# Live parameters and values that are to be taken.
VALID: dict[str, tuple[Any, ...]] = {
    'budget.fixed': (0.01, 0.05, 0.1, 0.5),
    'budget.reserve': (0.0, 0.002, 0.01),
    'budget.miss_rate': (0.001, 0.01, 0.1),
    'mode': ('contract', 'interruptible', 'adaptive'),
    'confidence_threshold': (0.0, 0.5, 1.0),
    'unknown_below': (0.0, 0.5),
    'publish_mode': ('final', 'every'),
    'on_miss': ('silent', 'late', 'empty'),
    'top_k': (1, 5, 10),
}
INVALID: dict[str, tuple[Any, ...]] = {
    'camera_names': (5, 1.5, True, 'front', [1.5], ['a', 'a'], ['x' * 10_000]),
    'cameras.front.roi': (5, 'all', [1.5], [True]),
    'cameras.front.topic': ('/elsewhere', 7),  # only while inactive
    'labels': (5, 'cat', [1]),
    'budget.fixed': (-1.0, math.nan, math.inf, 'soon', [1.0]),
    'budget.source': ('', 'guess', 3),
    'mode': ('', 'x' * 100_000, 1),
    'model': ('/nonexistent',),  # only while no model is loaded
    'top_k': (0, -(2**63), 'five'),
    'no_such_parameter': (1,),
    '': (1,),
}


def invalid_parameters() -> list[ParameterMessage]:
    """Each of them is to be refused while the node is active."""
    known = [
        Parameter(name, value=value).to_parameter_msg()
        for name, values in INVALID.items()
        for value in values
    ]
    unknown_types = [
        ParameterMessage(name=name, value=ParameterValue(type=kind, string_value='x'))
        for name in ('mode', 'camera_names', 'use_sim_time')
        for kind in (10, 42, 255)
    ]
    return known + unknown_types


def set_parameter(robot: Robot, message: ParameterMessage) -> tuple[bool, str]:
    """Whether it was taken, and the reason where it was not."""
    [result] = robot.call(
        SetParameters, 'set_parameters', SetParameters.Request(parameters=[message])
    ).results
    return result.successful, result.reason


def change_by_number(robot: Robot, number: int) -> bool:
    """Ask for a transition by its number only; whether it was taken."""
    request = ChangeState.Request()
    request.transition.id = number
    return robot.call(ChangeState, 'change_state', request).success


def trigger(robot: Robot, name: str) -> tuple[bool, str]:
    """Whether it was served, and what the node said."""
    response = robot.call(Trigger, name, Trigger.Request())
    return response.success, response.message
