"""Configuring and profiling take seconds: meanwhile the node answers, reports, and ends when told to."""

import signal
import threading
import time

import pytest
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters
from robot import NODE, PATIENCE, NodeProcess, Robot
from std_srvs.srv import Trigger

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]
# Seconds. The promise is 0.2 s for an answer and 1 s for the end; where something waits for what takes long,
# it waits for ever here, and a machine that is busy with other tests is no reason to fail.
BUSY_MACHINE = 5.0
# The node with a part that never works.
BROKEN_THREAD = """
from impatient_ros.perception.latest_frames import LatestFrames
from impatient_ros.ros import perception_node

def broken(frames):
    raise RuntimeError('injected')

LatestFrames.take = broken
perception_node.run()
"""
# The node with a model that takes for ever to load.
LOADING = """
import time
from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.ros import perception_node

AnytimeClassifier.from_checkpoint = lambda *_, **__: time.sleep(600)
perception_node.run()
"""
# The node with a model that takes for ever to profile.
PROFILING = """
from impatient_ros.anytime import profile
from impatient_ros.ros import perception_node

measure = profile.measure
profile.measure = lambda *given, **named: measure(*given, **{**named, 'time_limit': 600.0, 'rounds': 10**9})
perception_node.run()
"""


@pytest.fixture(autouse=True)
def no_profile_is_cached(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.close()


def begin(robot, service_type, name, **fields):
    """Call a service and do not wait for it; returns the future."""
    client = robot.node.create_client(service_type, f'{NODE}/{name}')
    assert client.wait_for_service(PATIENCE)
    return client.call_async(service_type.Request(**fields))


def answers(client, service_type):
    """Whether the node answers already; the first answer is lost where it has not discovered this client."""
    done = threading.Event()
    client.call_async(service_type.Request()).add_done_callback(lambda _: done.set())
    return done.wait(PATIENCE / 6)


def slowest_answer(robot, while_):
    """The longest that get_state and get_parameters take while `while_()`; s."""
    kinds = {'get_state': GetState, 'get_parameters': GetParameters}
    clients = {
        name: robot.node.create_client(service_type, f'{NODE}/{name}') for name, service_type in kinds.items()
    }
    slowest = 0.0
    for name, client in clients.items():
        assert client.wait_for_service(PATIENCE)
        robot.wait_until(lambda name=name, client=client: answers(client, kinds[name]))
    while while_():
        for name, client in clients.items():
            start, done = time.monotonic(), threading.Event()
            client.call_async(kinds[name].Request()).add_done_callback(lambda _, done=done: done.set())
            assert done.wait(PATIENCE)
            slowest = max(slowest, time.monotonic() - start)
    return slowest


def test_services_and_diagnostics_answer_while_it_configures_and_profiles(robot, tiny_model, tmp_path):
    """Loading here lasts until it is told to end, so that nothing depends on how fast the machine is."""
    with NodeProcess(
        tmp_path / 'log', 'autostart:=false', f'model:={tiny_model}', program=('-c', PROFILING)
    ) as node:
        robot.wait_until(lambda: robot.node.count_publishers('/diagnostics') > 0)
        request = {'transition': ChangeState.Request().transition}
        request['transition'].label = 'configure'
        configuring = begin(robot, ChangeState, 'change_state', **request)
        robot.wait_until(lambda: robot.state() == 'configuring')
        robot.wait_until(lambda: 'measuring latencies' in node.log)
        seen = len(robot.diagnostics)
        assert slowest_answer(robot, lambda: len(robot.diagnostics) < seen + 3) < BUSY_MACHINE
        assert robot.values_of('model')['state'] == 'configuring'
        # Another step is refused at once, and so is what the model must not see change.
        assert not robot.transition('shutdown')
        assert not robot.call(Trigger, 'reprofile', Trigger.Request()).success
        refused = robot.set(labels=['cat'])
        assert (refused.successful, 'try again' in refused.reason) == (False, True)
        assert robot.set(top_k=1).successful
        assert not configuring.done()
        start = time.monotonic()
        assert node.stop(signal.SIGTERM) == 0, node.log
        assert time.monotonic() - start < BUSY_MACHINE


def test_profiling_anew_happens_while_it_is_inactive(robot, tiny_model, tmp_path):
    with NodeProcess(
        tmp_path / 'log', 'autostart:=false', f'model:={tiny_model}', 'budget.fixed:=20.0'
    ) as node:
        robot.wait_until(lambda: robot.node.count_publishers('/diagnostics') > 0)
        unloaded = robot.call(Trigger, 'reprofile', Trigger.Request())
        assert (unloaded.success, 'configure' in unloaded.message) == (False, True)
        assert robot.transition('configure')
        profiled = begin(robot, Trigger, 'reprofile')
        assert slowest_answer(robot, lambda: not profiled.done()) < BUSY_MACHINE
        assert profiled.result().success
        assert 'ms' in profiled.result().message
        assert robot.transition('activate')
        robot.wait_for_node()
        assert robot.ask().exit_index == 3
        assert node.stop() == 0


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('text', [LOADING, PROFILING], ids=['loading', 'profiling'])
def test_a_signal_ends_it_while_it_starts(robot, tiny_model, tmp_path, text, number):
    with NodeProcess(tmp_path / 'log', f'model:={tiny_model}', program=('-c', text)) as node:
        said = 'loading' if text is LOADING else 'measuring latencies'
        robot.wait_until(lambda: said in node.log)
        start = time.monotonic()
        assert node.stop(number) == 0, node.log
        assert time.monotonic() - start < BUSY_MACHINE
        assert 'Traceback' not in node.log


def test_a_thread_that_cannot_be_kept_alive_ends_the_process_with_a_code(robot, tiny_model, tmp_path):
    with NodeProcess(tmp_path / 'log', f'model:={tiny_model}', program=('-c', BROKEN_THREAD)) as node:
        assert node.process.wait(PATIENCE) == 1, node.log
        assert 'classification cannot go on: the node ends' in node.log
        assert node.log.count('Traceback') == 1
