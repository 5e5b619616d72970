import _thread
import os
import threading
import time

import pytest

from impatient_ros.perception.process_threads import (
    COMPUTING,
    computing,
    core,
    cpu_seconds,
    name_this_thread,
    named,
    schedule,
    thread_ids,
)

pytestmark = pytest.mark.skipif(not thread_ids(), reason='needs Linux and its /proc')


class Native:
    """A thread that Python knows nothing of, as those of a library's pool are; it waits to be ended."""

    def __init__(self):
        self._started, self._ending = threading.Event(), threading.Event()
        _thread.start_new_thread(self._run, ())
        self._started.wait()

    def _run(self):
        self.tid = _thread.get_native_id()
        self._started.set()
        self._ending.wait()

    def end(self):
        self._ending.set()


@pytest.fixture
def native():
    started = []

    def start():
        started.append(Native())
        return started[-1].tid

    yield start
    for each in started:
        each.end()


def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_what_is_started_while_computing_is_found_and_nothing_else(native):
    there = named(COMPUTING)  # pools of other tests
    before = native()

    def make():
        with computing():
            inside = native()
            mine = named(COMPUTING) - there
        return inside, mine, native(), threading.get_native_id()

    inside, mine, after, maker = in_a_thread(make)
    assert mine == {inside, maker}
    assert named(COMPUTING) - there == {inside}
    assert not {before, after} & named(COMPUTING)


def test_threads_of_pythons_do_not_compute_whoever_starts_them():
    ended = threading.Event()

    def make():
        with computing():
            thread = threading.Thread(target=ended.wait)
            thread.start()
            return thread

    thread = in_a_thread(make)
    try:
        assert thread.native_id in thread_ids()
        assert thread.native_id not in named(COMPUTING)
    finally:
        ended.set()
        thread.join()


def test_only_those_asked_for_are_looked_at(native):
    def make():
        with computing():
            return native(), native()

    first, second = in_a_thread(make)
    assert named(COMPUTING, {first}) == {first}
    assert {first, second} <= named(COMPUTING)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason='needs two cores')
def test_computing_stays_on_its_cores_and_is_let_go_afterwards(native):
    everywhere = os.sched_getaffinity(0)
    one = {min(everywhere)}

    def make():
        before = os.sched_getaffinity(0)
        with computing(one):
            there = os.sched_getaffinity(0)
            pool = native()
            there_too = os.sched_getaffinity(pool)
            with computing(one):  # of a pool that is there already, too
                pass
        return before, there, there_too, os.sched_getaffinity(0), os.sched_getaffinity(pool)

    assert in_a_thread(make) == (everywhere, one, one, everywhere, everywhere)


def test_a_core_that_the_process_may_not_use_is_an_error_and_the_name_is_given_back():
    there = named(COMPUTING)

    def make():
        with pytest.raises(OSError, match='Invalid argument'), computing({4095}):
            pass
        return named(COMPUTING)

    assert in_a_thread(make) == there


def test_processor_time_is_that_of_the_thread_alone():
    def burn():
        me = threading.get_native_id()
        before, began = cpu_seconds(me), time.thread_time()
        while time.thread_time() - began < 0.02:
            pass
        return cpu_seconds(me) - before, time.thread_time() - began

    waiting = threading.get_native_id()
    before = cpu_seconds(waiting)
    counted, known = in_a_thread(burn)
    assert counted == pytest.approx(known, abs=0.002)
    assert cpu_seconds(waiting) - before < 0.01


def test_the_core_is_one_that_the_thread_may_run_on():
    def where():
        name_this_thread('a) b (c')  # which its line in /proc has as it is
        return core(threading.get_native_id())

    assert in_a_thread(where) in os.sched_getaffinity(0)


def test_a_thread_that_has_ended_is_no_error_to_schedule_and_one_to_ask_about():
    ended = in_a_thread(threading.get_native_id)
    while ended in thread_ids():  # Python's join returns before Linux has taken it down
        time.sleep(0.001)
    schedule(ended, 0)
    for ask in (core, cpu_seconds):
        with pytest.raises(OSError):  # which one depends on the kernel
            ask(ended)
