"""An error in each of the node's callbacks: it is survived, counted, shown, and the caller has an answer.

The node runs in this process, so that its functions can be made to fail.
"""

import itertools

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.srv import GetAvailableStates, GetAvailableTransitions, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
)
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.parameter_service import ParameterService
from rclpy.time import Time
from rclpy.time_source import TimeSource
from robot import Robot
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from impatient_ros.perception.diagnostics import Diagnostics
from impatient_ros.perception.faults import Faults
from impatient_ros.perception.frame_record import Outcome
from impatient_ros.perception.lifecycle import Lifecycle
from impatient_ros.perception.monitor import Monitor
from impatient_ros.perception.worker import Perception
from impatient_ros.ros.executor_thread import ExecutorThread
from impatient_ros.ros.long_requests import LongRequests
from impatient_ros.ros.perception_node import PerceptionNode

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]
TOP_K = ParameterMessage(
    name='top_k', value=ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=2)
)


def ask(service_type, name, **fields):
    return lambda robot: robot.call(service_type, name, service_type.Request(**fields))


def set_one(robot):
    return robot.set(top_k=3)


def tell_time(robot, instants=itertools.cycle((2000, 1000))):  # noqa: B008  it goes on where it was
    """An instant; every second one lies before the one before it."""
    robot.clock.publish(Clock(clock=Time(seconds=next(instants)).to_msg()))


def nothing(robot):
    """A timer calls it."""


# What fails, and what makes the node call it.
CALLBACKS = {
    (ParameterService, '_describe_parameters_callback'): ask(DescribeParameters, 'describe_parameters'),
    (ParameterService, '_get_parameters_callback'): ask(GetParameters, 'get_parameters'),
    (ParameterService, '_get_parameter_types_callback'): ask(GetParameterTypes, 'get_parameter_types'),
    (ParameterService, '_list_parameters_callback'): ask(ListParameters, 'list_parameters'),
    (ParameterService, '_set_parameters_callback'): ask(SetParameters, 'set_parameters', parameters=[TOP_K]),
    (ParameterService, '_set_parameters_atomically_callback'): set_one,
    (Perception, 'reschedule'): set_one,
    (LifecycleNode, '_LifecycleNodeMixin__on_get_state'): ask(GetState, 'get_state'),
    (LifecycleNode, '_LifecycleNodeMixin__on_get_available_states'): ask(
        GetAvailableStates, 'get_available_states'
    ),
    (LifecycleNode, '_LifecycleNodeMixin__on_get_available_transitions'): ask(
        GetAvailableTransitions, 'get_available_transitions'
    ),
    (Monitor, 'reset'): ask(Trigger, 'reset_statistics'),
    (Diagnostics, 'build'): nothing,
    (PerceptionNode, '_diagnose'): nothing,
    (Perception, 'announce'): lambda robot: robot.announce(robot.now() + 10**9),
    (Perception, 'receive'): lambda robot: robot.send(),
    (TimeSource, 'clock_callback'): tell_time,
    (Perception, 'clock_jumped_back'): tell_time,
}
STEPS = {'configure': 'inactive', 'activate': 'active', 'deactivate': 'inactive', 'clean_up': 'unconfigured'}


class Fuse:
    """Lets the next call of one function of the node fail."""

    def __init__(self):
        self.lit = None

    def around(self, patch, owner, name):
        function = getattr(owner, name)

        def call(*arguments, **named):
            if self.lit == name:
                self.lit = None
                raise RuntimeError('injected')
            return function(*arguments, **named)

        patch.setattr(owner, name, call)


@pytest.fixture(scope='module')
def served(tiny_model):
    """The fuse, what the node survived, and the robot."""
    patch, fuse, faults = pytest.MonkeyPatch(), Fuse(), Faults()
    others = [(Lifecycle, name) for name in STEPS] + [(LongRequests, 'start')]
    for owner, name in (*CALLBACKS, *others):
        fuse.around(patch, owner, name)
    robot, context = Robot(), rclpy.Context()
    robot.clock = robot.node.create_publisher(Clock, '/clock', 10)
    rclpy.init(context=context)
    values = {'model': str(tiny_model), 'budget.fixed': 20.0, 'autostart': False}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = PerceptionNode(faults, context=context, parameter_overrides=overrides)
    executor = ExecutorThread(node, faults=faults)
    executor.start()
    yield fuse, faults, robot
    executor.stop()
    node.destroy_node()
    context.try_shutdown()
    robot.close()
    patch.undo()
    assert not executor.failed


@pytest.fixture
def active(served):
    """The same while the node is active."""
    _, _, robot = served
    if robot.state() == 'unconfigured':
        assert robot.transition('configure')
    if robot.state() == 'inactive':
        assert robot.transition('activate')
    robot.wait_for_node()
    return served


def total(faults):
    return sum(faults.counts().errors.values())


def wait_for_error(robot, text):
    """Wait until the diagnostics show it."""

    def shown():
        status = robot.diagnosis_of('model')
        return status is not None and status.level == DiagnosticStatus.ERROR and text in status.message

    robot.wait_for(shown)


@pytest.mark.parametrize(
    ('owner', 'name'), CALLBACKS, ids=lambda each: each if isinstance(each, str) else each.__name__
)
def test_an_error_in_a_callback_is_survived(active, owner, name, caplog):
    fuse, faults, robot = active
    trigger, simulated = CALLBACKS[owner, name], CALLBACKS[owner, name] is tell_time
    assert robot.set(use_sim_time=simulated).successful
    if simulated:
        robot.wait_until(lambda: robot.clock.get_subscription_count() > 0)
    before = total(faults)
    fuse.lit = name

    def failed():
        if fuse.lit:
            trigger(robot)
        return not fuse.lit and total(faults) > before

    robot.wait_until(failed)
    assert total(faults) == before + 1
    wait_for_error(robot, 'injected')
    assert len([each for each in caplog.records if each.exc_info]) == 1
    trigger(robot)
    assert robot.set(use_sim_time=False).successful
    assert robot.ask().outcome is Outcome.answered
    assert robot.state() == 'active'


def test_who_asked_is_told_what_failed(active):
    fuse, _, robot = active
    fuse.lit = 'reset'
    response = robot.call(Trigger, 'reset_statistics', Trigger.Request())
    assert (response.success, 'injected' in response.message) == (False, True)
    fuse.lit = '_set_parameters_atomically_callback'
    result = set_one(robot)
    assert (result.successful, 'injected' in result.reason) == (False, True)
    fuse.lit = '_set_parameters_callback'
    [result] = robot.call(SetParameters, 'set_parameters', SetParameters.Request(parameters=[TOP_K])).results
    assert (result.successful, 'injected' in result.reason) == (False, True)
    fuse.lit = 'start'
    assert not robot.transition('deactivate')
    assert robot.state() == 'active'


def bring_to(robot, state):
    """From whatever state, along transitions that work."""
    down = {'active': 'deactivate', 'inactive': 'cleanup'}
    while (now := robot.state()) != 'unconfigured':
        assert robot.transition(down[now])
    for label in {'unconfigured': (), 'inactive': ('configure',), 'active': ('configure', 'activate')}[state]:
        assert robot.transition(label)


@pytest.mark.parametrize(
    ('step', 'before', 'label'),
    [
        ('configure', 'unconfigured', 'configure'),
        ('activate', 'inactive', 'activate'),
        ('deactivate', 'active', 'deactivate'),
        ('clean_up', 'inactive', 'cleanup'),
    ],
)
def test_an_error_in_a_step_of_the_lifecycle_is_logged_and_shown_until_a_step_works(
    served, step, before, label, caplog
):
    fuse, faults, robot = served
    bring_to(robot, before)
    fuse.lit = step
    assert not robot.transition(label)
    assert robot.state() == 'unconfigured', 'it can be configured again'
    assert faults.counts().errors[step.replace('_', ' ')] >= 1
    [told] = [each for each in caplog.records if each.exc_info]
    reason = f"cannot {step.replace('_', ' ')}: RuntimeError('injected')"
    assert reason in told.message
    wait_for_error(robot, reason)
    bring_to(robot, 'active')
    robot.wait_for(lambda: reason not in robot.diagnosis_of('model').message)
    robot.wait_for_node()
    assert robot.ask().outcome is Outcome.answered
