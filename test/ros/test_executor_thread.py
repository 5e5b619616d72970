import logging
import threading

import pytest

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

from rclpy.context import Context  # noqa: E402
from rclpy.node import Node  # noqa: E402

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


def test_an_error_in_a_callback_ends_it_and_is_told(node, caplog):
    def serve():
        raise ValueError('broken')

    ended = threading.Event()
    node.create_timer(0.001, serve)
    executor = ExecutorThread(node, ended=ended.set)
    with caplog.at_level(logging.ERROR):
        executor.start()
        assert ended.wait(PATIENCE)
        executor.stop()
    assert executor.failed
    assert 'broken' in caplog.text


def test_the_end_of_its_context_ends_it_without_an_error(node):
    ended = threading.Event()
    executor = ExecutorThread(node, ended=ended.set)
    executor.start()
    node.context.shutdown()
    assert ended.wait(PATIENCE)
    executor.stop()
    assert not executor.failed
