"""Each test is a process of its own: signals are a process's, not a test's."""

import signal
import subprocess
import sys
import time

import pytest

from impatient_ros.ros.stop_signals import StopFlag

pytestmark = pytest.mark.timeout(120)

START = """
import os, signal, threading, time
from impatient_ros.ros.stop_signals import StopSignals

stop = StopSignals()

def in_a_thread(function):
    def later():
        time.sleep(0.3)  # until the main thread waits, which nothing tells
        function()

    threading.Thread(target=later, daemon=True).start()
"""


def run(text):
    return subprocess.run([sys.executable, '-c', START + text], capture_output=True, timeout=60)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_interrupts_another_thread_ends_the_wait(number):
    done = run(
        f"""
in_a_thread(lambda: signal.pthread_kill(threading.get_ident(), {int(number)}))
stop.wait()
"""
    )
    assert (done.returncode, done.stderr) == (0, b'')


def test_a_signal_that_came_before_ends_the_wait_at_once():
    assert run('os.kill(os.getpid(), signal.SIGTERM)\nstop.wait()').returncode == 0


def test_another_signal_does_not_end_the_wait():
    done = run(
        """
signal.signal(signal.SIGUSR1, lambda *_: print('another', flush=True))

def both():
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.3)
    print('ended', flush=True)
    stop.set()

in_a_thread(both)
stop.wait()
"""
    )
    assert done.returncode == 0
    assert done.stdout.split() == [b'another', b'ended']


def test_set_ends_the_wait_however_often_it_is_called():
    done = run('in_a_thread(lambda: [stop.set() for _ in range(100_000)])\nstop.wait()')
    assert (done.returncode, done.stderr) == (0, b'')


def test_afterwards_signals_do_nothing():
    done = run(
        """
os.kill(os.getpid(), signal.SIGINT)
stop.wait()
stop.ignore()
os.kill(os.getpid(), signal.SIGINT)
os.kill(os.getpid(), signal.SIGTERM)
print('alive')
"""
    )
    assert (done.returncode, done.stdout.strip()) == (0, b'alive')


def test_a_flag_may_be_set_by_a_handler_while_its_thread_waits_for_it():
    """A `threading.Event` instead never got to the end."""
    done = run(
        """
import faulthandler, random
from impatient_ros.ros.stop_signals import StopFlag

faulthandler.dump_traceback_later(30, exit=True)
signal.signal(signal.SIGALRM, lambda *_: flag.set())
for _ in range(1000):
    flag = StopFlag()
    assert not flag.is_set()
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-3))
    while not flag.wait(1e-5):
        pass
    assert flag.is_set()
"""
    )
    assert (done.returncode, done.stderr) == (0, b'')


def test_a_flag_that_nobody_sets_is_waited_for_until_the_timeout():
    flag = StopFlag()
    began = time.monotonic()
    assert not flag.wait(0.05)
    assert time.monotonic() - began >= 0.05
    flag.set()
    assert flag.wait(60)
    assert time.monotonic() - began < 60
