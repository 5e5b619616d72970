import threading
import time

import pytest

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

from rclpy.context import Context  # noqa: E402
from rclpy.node import Node  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from impatient_ros.ros.executor_thread import ExecutorThread  # noqa: E402
from impatient_ros.ros.long_requests import LongRequests  # noqa: E402
from impatient_ros.ros.requests import RequestRefusedError  # noqa: E402

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


@pytest.fixture
def requests(node):
    return LongRequests(node)


def wait_until(what):
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_one_job_at_a_time_and_the_next_one_when_it_has_ended(requests):
    go_on = threading.Event()
    first = requests.start('profiling', lambda: go_on.wait(PATIENCE))
    assert requests.busy == 'profiling'
    with pytest.raises(RequestRefusedError, match='profiling is under way'):
        requests.start('another', lambda: None)
    go_on.set()
    wait_until(first.done)
    assert (first.result(), requests.busy) == (True, '')
    failing = requests.start('another', lambda: 1 / 0)
    wait_until(failing.done)
    assert isinstance(failing.exception(), ZeroDivisionError)
    assert requests.busy == ''


def test_a_service_that_awaits_a_job_is_answered_and_others_meanwhile(node, requests):
    go_on, thread = threading.Event(), []

    async def serve(request, response):
        def work():
            thread.append(threading.current_thread())
            go_on.wait(PATIENCE)

        await requests.start('work', work)
        response.success = True
        return response

    node.create_service(Trigger, 'long', serve, callback_group=requests.group)
    node.create_service(Trigger, 'short', lambda request, response: response)
    context = Context()
    rclpy.init(context=context)
    asker = Node('asker', context=context)
    both = ExecutorThread(node), ExecutorThread(asker)
    try:
        for executor in both:
            executor.start()
        long, short = (asker.create_client(Trigger, name) for name in ('long', 'short'))
        assert long.wait_for_service(PATIENCE)
        assert short.wait_for_service(PATIENCE)
        slow = long.call_async(Trigger.Request())
        wait_until(lambda: thread)
        for _ in range(10):
            quick = short.call_async(Trigger.Request())
            wait_until(quick.done)
        assert not slow.done()
        go_on.set()
        wait_until(slow.done)
        assert slow.result().success
        assert thread[0] not in (threading.main_thread(), *(each._thread for each in both))
    finally:
        for executor in both:
            executor.stop()
        asker.destroy_node()
        context.try_shutdown()


def test_stopping_waits_for_a_job_that_has_something_to_lose(requests):
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def job():
        begun.set()
        go_on.wait(PATIENCE)
        ended.set()

    requests.start('activating', job)
    assert begun.wait(PATIENCE)
    stopper = threading.Thread(target=requests.stop)
    stopper.start()
    stopper.join(1.0)
    assert stopper.is_alive()
    go_on.set()
    stopper.join(PATIENCE)
    assert ended.is_set()


def test_stopping_leaves_a_job_that_may_be_abandoned_and_it_goes_no_further(requests):
    begun, go_on, further = threading.Event(), threading.Event(), threading.Event()

    def job():
        with requests.abandonable():
            begun.set()
            go_on.wait(PATIENCE)
        further.set()

    requests.start('loading', job)
    assert begun.wait(PATIENCE)
    start = time.monotonic()
    requests.stop()
    assert time.monotonic() - start < PATIENCE / 10
    go_on.set()
    requests._thread.join(PATIENCE)
    assert not further.is_set()


def test_what_looks_now_and_then_ends_by_itself(requests):
    begun = threading.Event()

    def job():
        with requests.abandonable():
            begun.set()
            while True:
                requests.check()

    requests.start('profiling', job)
    assert begun.wait(PATIENCE)
    requests.stop()
    requests._thread.join(PATIENCE)
    assert not requests._thread.is_alive()


def test_without_a_job_there_is_nothing_to_wait_for(requests):
    requests.stop()
