import threading
import time

import pytest

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from std_msgs.msg import Empty  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from impatient_ros.perception.faults import Faults  # noqa: E402
from impatient_ros.ros.executor_thread import ExecutorThread  # noqa: E402

pytestmark = [pytest.mark.ros, pytest.mark.timeout(120)]
PATIENCE = 60


@pytest.fixture
def node():
    context = Context()
    rclpy.init(context=context)
    node = Node('served', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def test_callbacks_are_served_by_another_thread_until_it_is_stopped(node):
    served = threading.Event()
    threads = set()

    def serve():
        threads.add(threading.current_thread().name)
        served.set()

    node.create_timer(0.001, serve)
    executor = ExecutorThread(node, name='theirs')
    executor.start()
    assert served.wait(PATIENCE)
    executor.stop()
    assert threads == {'theirs'}
    served.clear()
    assert not served.wait(0.05)
    assert not executor.failed


def test_stop_waits_for_the_callback_under_way(node):
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def serve():
        begun.set()
        assert may_end.wait(PATIENCE)
        ended.set()

    node.create_timer(0.001, serve)
    executor = ExecutorThread(node)
    executor.start()
    assert begun.wait(PATIENCE)
    stopper = threading.Thread(target=executor.stop)
    stopper.start()
    assert stopper.is_alive()
    may_end.set()
    stopper.join(PATIENCE)
    assert not stopper.is_alive()
    assert ended.is_set()


def test_one_with_nothing_to_do_can_be_stopped_at_any_moment(node):
    for _ in range(200):
        executor = ExecutorThread(node)
        executor.start()
        executor.stop()
        executor.stop()


def test_it_can_be_stopped_before_it_was_started(node):
    ExecutorThread(node).stop()


def test_an_error_in_a_callback_is_told_once_and_counted_and_the_next_callback_is_served(node, caplog):
    calls, enough, others = [], threading.Event(), threading.Event()

    def serve():
        calls.append(1)
        if len(calls) == 30:
            enough.set()
        raise ValueError('broken')

    node.create_timer(0.001, serve)
    node.create_timer(0.001, others.set)
    faults = Faults()
    executor = ExecutorThread(node, faults=faults)
    executor.start()
    assert enough.wait(PATIENCE)
    others.clear()
    assert others.wait(PATIENCE)
    executor.stop()
    assert not executor.failed
    assert faults.counts().errors == {'timer': len(calls)}
    assert caplog.text.count('Traceback') == 1
    assert 'broken' in caplog.text


@pytest.mark.parametrize('kind', ['subscription', 'service', 'guard condition'])
def test_what_fails_while_its_message_is_taken_is_served_again(node, monkeypatch, kind):
    """rclpy leaves the entity and its callback group taken for good where that fails."""
    served, failed = threading.Event(), threading.Event()
    take = {'subscription': '_take_subscription', 'service': '_take_service'}.get(
        kind, '_take_guard_condition'
    )
    original = getattr(SingleThreadedExecutor, take)

    def fail_once(executor, entity):
        if not failed.is_set():
            failed.set()
            raise UnicodeDecodeError('utf-8', b'\xff', 0, 1, 'injected')
        return original(executor, entity)

    monkeypatch.setattr(SingleThreadedExecutor, take, fail_once)
    if kind == 'subscription':
        node.create_subscription(Empty, 'topic', lambda message: served.set(), 10)
        publisher = node.create_publisher(Empty, 'topic', 10)
        ask = lambda: publisher.publish(Empty())  # noqa: E731
    elif kind == 'service':
        node.create_service(Trigger, 'service', lambda request, response: served.set() or response)
        client = node.create_client(Trigger, 'service')
        ask = lambda: client.call_async(Trigger.Request())  # noqa: E731
    else:
        ask = node.create_guard_condition(served.set).trigger
    faults = Faults()
    executor = ExecutorThread(node, faults=faults)
    executor.start()
    until = time.monotonic() + PATIENCE
    while not served.is_set():
        assert time.monotonic() < until
        ask()
        served.wait(0.05)
    executor.stop()
    counts = faults.counts()
    assert counts.refused + sum(counts.errors.values()) == 1


def test_one_that_cannot_wait_ends_and_says_so(node, monkeypatch, caplog):
    def wait(executor):
        raise RuntimeError('no wait set')

    monkeypatch.setattr(SingleThreadedExecutor, 'wait_for_ready_callbacks', wait)
    ended, faults = threading.Event(), Faults()
    executor = ExecutorThread(node, ended=ended.set, faults=faults)
    executor.start()
    assert ended.wait(PATIENCE)
    executor.stop()
    assert executor.failed
    assert faults.gave_up
    assert 'no wait set' in caplog.text


def test_the_end_of_its_context_ends_it_without_an_error(node):
    ended = threading.Event()
    executor = ExecutorThread(node, ended=ended.set)
    executor.start()
    node.context.shutdown()
    assert ended.wait(PATIENCE)
    executor.stop()
    assert not executor.failed
