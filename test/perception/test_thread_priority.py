import os
import sys
import threading

import pytest

from impatient_ros.perception.thread_priority import prefer_this_thread, switch_threads_every


def in_a_thread(function, *arguments):
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*arguments)))
    thread.start()
    thread.join()
    return found[0]


def test_zero_leaves_the_thread_as_it_is():
    assert in_a_thread(lambda: (prefer_this_thread(0), os.sched_getscheduler(0))) == (False, os.SCHED_OTHER)


def test_only_the_calling_thread_is_preferred():
    def preferred():
        return prefer_this_thread(3), os.sched_getscheduler(0), os.sched_getparam(0).sched_priority

    permitted, scheduler, priority = in_a_thread(preferred)
    if not permitted:
        pytest.skip('this machine does not permit real-time priorities')
    assert (scheduler, priority) == (os.SCHED_FIFO, 3)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_system_that_does_not_permit_it_is_said_so_and_lived_with(monkeypatch, caplog):
    def refuse(*arguments):
        raise PermissionError('Operation not permitted')

    monkeypatch.setattr(os, 'sched_setscheduler', refuse)
    assert prefer_this_thread(5) is False
    assert 'ulimit -r 5' in caplog.text


def test_the_switch_interval_is_set_and_goes_back_to_pythons_own():
    before = sys.getswitchinterval()
    try:
        switch_threads_every(0.0005)
        assert sys.getswitchinterval() == pytest.approx(0.0005)
        switch_threads_every(0.0)
        assert sys.getswitchinterval() == pytest.approx(0.005)
    finally:
        sys.setswitchinterval(before)
