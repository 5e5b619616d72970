"""Requests that cannot be served: refused with a reason, logged, counted, and the node goes on."""

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from robot import NodeProcess, Robot
from rosgraph_msgs.msg import Clock

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]
CLOCK_BEFORE_1970 = Clock()
CLOCK_BEFORE_1970.clock.sec = -1


@pytest.fixture(scope='module')
def robot():
    robot = Robot()
    yield robot
    robot.close()


@pytest.fixture(scope='module')
def running(robot, tmp_path_factory):
    """A node without a model: these requests do not need one."""
    log = tmp_path_factory.mktemp('log') / 'node.log'
    with NodeProcess(log, 'autostart:=false') as node:
        robot.wait_until(lambda: robot.node.count_publishers('/diagnostics') > 0)
        yield node


@pytest.fixture
def node(running, robot):
    """That node; the test has at least one request refused, and no error of the node's own comes of it."""
    robot.wait_for(lambda: robot.values_of('model').get('refused_requests'))
    before = int(robot.values_of('model')['refused_requests'])
    yield running
    robot.wait_for(lambda: int(robot.values_of('model')['refused_requests']) > before)
    assert robot.values_of('model')['internal_errors'] == '0'
    assert running.process.poll() is None, running.log
    assert 'Traceback' not in running.log
    assert robot.state() == 'unconfigured'


def parameter(name, kind, **value):
    return ParameterMessage(name=name, value=ParameterValue(type=kind, **value))


class TestParameters:
    @pytest.mark.parametrize('value', [5, 1.5, True, 'front', [b'x'], [1.5], [True]])
    @pytest.mark.parametrize('name', ['camera_names', 'cameras.camera.roi', 'labels'])
    def test_what_is_no_list_of_the_right_kind(self, node, robot, name, value):
        before = robot.get(name)
        result = robot.set(**{name.replace('.', '__'): value})
        assert not result.successful
        assert 'type' in result.reason
        robot.wait_until(lambda: f'({name}): refused' in self.refused_again(node, robot, name, value))
        assert robot.get(name) == before

    @staticmethod
    def refused_again(node, robot, name, value):
        """The log, after one more request: of a storm of them not every one is logged."""
        robot.set(**{name.replace('.', '__'): value})
        return node.log

    @pytest.mark.parametrize('kind', [10, 42, 255])
    def test_a_type_that_does_not_exist(self, node, robot, kind):
        bad, good = (
            parameter('mode', kind, string_value='x'),
            parameter('top_k', 2, integer_value=kind % 9 + 1),
        )
        request = SetParametersAtomically.Request(parameters=[good, bad])
        result = robot.call(SetParametersAtomically, 'set_parameters_atomically', request).result
        assert not result.successful
        assert f'mode comes with a value of type {kind}' in result.reason
        request = SetParameters.Request(parameters=[bad, good, bad])
        results = robot.call(SetParameters, 'set_parameters', request).results
        assert [each.successful for each in results] == [False, True, False]
        assert f'type {kind}' in results[2].reason
        assert robot.get('top_k') == kind % 9 + 1

    def test_one_that_does_not_exist(self, node, robot):
        assert not robot.set(no_such_parameter=1).successful

    def test_one_without_a_name(self, node, robot):
        result = robot.set(**{'': 1})
        assert not result.successful
        assert 'without a name' in result.reason

    def test_the_log_says_why(self, node, robot):
        robot.wait_until(lambda: not robot.set(budget__fixed=-7.25).successful and '-7.25' in node.log)
        assert 'set_parameters_atomically (budget.fixed): refused: ' in node.log


class TestTransitions:
    @pytest.mark.parametrize(
        'transition',
        [
            Transition(id=Transition.TRANSITION_ACTIVATE),
            Transition(id=Transition.TRANSITION_DEACTIVATE),
            Transition(id=Transition.TRANSITION_CLEANUP),
            Transition(id=Transition.TRANSITION_ACTIVE_SHUTDOWN),
            Transition(id=Transition.TRANSITION_ON_CONFIGURE_SUCCESS),
            Transition(id=Transition.TRANSITION_CREATE),
            Transition(id=255),
            Transition(label='activate'),
            Transition(label='nonsense'),
            Transition(id=Transition.TRANSITION_CONFIGURE, label='activate'),
        ],
        ids=lambda each: f'{each.id} {each.label}',
    )
    def test_one_that_is_impossible(self, node, robot, transition):
        request = ChangeState.Request(transition=transition)
        assert not robot.call(ChangeState, 'change_state', request).success

    def test_the_log_says_what_is_possible(self, node, robot):
        def refused():
            assert not robot.transition('deactivate')
            return 'deactivate is not possible' in node.log

        robot.wait_until(refused)
        assert 'while unconfigured: possible are configure, shutdown' in node.log


class TestMessages:
    def test_a_clock_that_cannot_be(self, node, robot):
        assert robot.set(use_sim_time=True).successful
        clock = robot.node.create_publisher(Clock, '/clock', 10)
        robot.wait_until(lambda: clock.get_subscription_count() > 0)

        def refused():
            clock.publish(CLOCK_BEFORE_1970)
            return 'a message on /clock was refused' in node.log

        robot.wait_until(refused)
        robot.node.destroy_publisher(clock)
        assert robot.set(use_sim_time=False).successful
