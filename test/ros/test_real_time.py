"""Real-time scheduling and cores of a node in a process of its own, read from /proc."""

import os
import shutil
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from robot import NodeProcess, Robot

from impatient_ros.perception.frame_record import Outcome
from impatient_ros.perception.process_threads import schedule

pytestmark = [
    pytest.mark.ros,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path('/proc/self/task').exists(), reason='needs Linux and its /proc'),
]
# The node, without the right to schedule in real time.
WITHOUT_PERMISSION = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
node = [sys.executable, '-m', 'impatient_ros.ros.perception_node', *sys.argv[1:]]
if os.geteuid() == 0:  # whom no limit binds but for the capability
    node = ['setpriv', '--bounding-set=-sys_nice', '--inh-caps=-sys_nice', *node]
os.execvp(node[0], node)
"""


def permitted():
    """Whether this process may schedule in real time; tried on a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            schedule(0, 11)
            os._exit(0)
        except OSError:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


needs_permission = pytest.mark.skipif(
    not permitted(), reason='this process may not schedule in real time (CAP_SYS_NICE, rtprio)'
)


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.close()


def threads(node):
    """Of every thread of the node: name, priority (0: ordinary scheduling), cores."""
    found = []
    for task in Path(f'/proc/{node.process.pid}/task').iterdir():
        tid = int(task.name)
        real_time = os.sched_getscheduler(tid) == os.SCHED_FIFO
        priority = os.sched_getparam(tid).sched_priority if real_time else 0
        found.append(((task / 'comm').read_text().strip(), priority, os.sched_getaffinity(tid)))
    return found


def in_real_time(node):
    return sorted((name, priority) for name, priority, _ in threads(node) if priority)


@needs_permission
def test_the_threads_that_compute_and_deliver_are_in_real_time_and_no_others(robot, tiny_model, tmp_path):
    with NodeProcess(
        tmp_path / 'log',
        f'model:={tiny_model}',
        'budget.fixed:=20.0',
        'cpu_threads:=2',
        'realtime_priority:=10',
    ) as node:
        robot.wait_for_node()
        for _ in range(5):
            assert robot.ask().outcome is Outcome.answered
        all_of_them, real = threads(node), in_real_time(node)
        computing = [each for each in real if each[0] == 'inference']
        others = [name for name, priority, _ in all_of_them if not priority]
        assert [each for each in real if each not in computing] == [('delivery', 11), ('watchdog', 11)]
        assert set(computing) == {('inference', 10)}
        assert len(computing) >= 2  # the one that classifies, and its runtime's
        assert 'inference' not in others
        assert any(name.startswith('dds') for name in others)
        assert others.count('python') >= 2  # the main thread, the executor's, the one that takes images
        robot.wait_for(lambda: robot.values_of('model').get('realtime_priority') == '10')
        assert int(robot.values_of('model')['realtime_threads']) == len(computing) + 1
        refused = robot.set(realtime_priority=0)
        assert not refused.successful
        assert 'deactivate' in refused.reason

        assert robot.transition('deactivate')
        assert in_real_time(node) == []
        assert robot.set(realtime_priority=0).successful
        assert robot.transition('activate')
        assert in_real_time(node) == []
        assert robot.transition('deactivate')
        assert robot.set(realtime_priority=20).successful
        assert robot.transition('activate')
        assert len(in_real_time(node)) == len(real)
        assert node.stop() == 0, node.log
        assert 'Traceback' not in node.log


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason='needs two cores')
def test_the_threads_that_compute_and_deliver_stay_on_their_cores(robot, tiny_model, tmp_path):
    one = min(os.sched_getaffinity(0))
    with NodeProcess(
        tmp_path / 'log', f'model:={tiny_model}', 'budget.fixed:=20.0', f'cpu_affinity:=[{one}]'
    ) as node:
        robot.wait_for_node()
        assert robot.ask().outcome is Outcome.answered
        bound = [name for name, _, cores in threads(node) if cores == {one}]
        free = [name for name, _, cores in threads(node) if cores != {one}]
        assert {'inference', 'delivery'} == set(bound)
        assert not {'inference', 'delivery'} & set(free)
        assert robot.transition('deactivate')
        refused = robot.set(cpu_affinity=[])
        assert not refused.successful
        assert 'clean up' in refused.reason
        assert robot.transition('cleanup')
        assert 'cpu_affinity has 4095: this machine has cores 0 to' in robot.set(cpu_affinity=[4095]).reason
        assert robot.set(cpu_affinity=[]).successful
        assert robot.transition('configure')
        assert robot.transition('activate')
        robot.wait_for_node()
        assert robot.ask().outcome is Outcome.answered
        assert {frozenset(cores) for _, _, cores in threads(node)} == {frozenset(os.sched_getaffinity(0))}


def test_a_node_that_may_not_says_so_once_with_the_line_to_add_and_answers(robot, tiny_model, tmp_path):
    if os.geteuid() == 0 and shutil.which('setpriv') is None:
        pytest.skip('needs setpriv (util-linux) to give CAP_SYS_NICE up')
    with NodeProcess(
        tmp_path / 'log',
        f'model:={tiny_model}',
        'budget.fixed:=20.0',
        'realtime_priority:=10',
        program=('-c', WITHOUT_PERMISSION),
    ) as node:
        robot.wait_for_node()
        assert robot.ask().outcome is Outcome.answered
        robot.wait_for(lambda: robot.values_of('model').get('realtime_priority') == '0')
        assert robot.diagnosis_of('model').level == DiagnosticStatus.WARN
        assert 'LimitRTPRIO=11' in robot.diagnosis_of('model').message
        before = len(robot.diagnostics)
        robot.wait_for(lambda: len(robot.diagnostics) >= before + 3)
        assert node.log.count('is not permitted here') == 1
        assert in_real_time(node) == []


@needs_permission
def test_a_node_that_takes_too_much_falls_back_says_so_and_answers_on(robot, tiny_model, tmp_path):
    with NodeProcess(
        tmp_path / 'log',
        f'model:={tiny_model}',
        'budget.fixed:=20.0',
        'realtime_priority:=10',
        'realtime_limit:=0.0',  # any frame is too much
    ) as node:
        robot.wait_for_node()
        assert robot.ask().outcome is Outcome.answered
        robot.wait_for(lambda: 'was given up' in (robot.diagnosis_of('model') or DiagnosticStatus()).message)
        assert robot.diagnosis_of('model').level == DiagnosticStatus.WARN
        assert in_real_time(node) == []
        assert robot.ask().outcome is Outcome.answered
        assert node.log.count('realtime_priority 10 was given up') == 1
