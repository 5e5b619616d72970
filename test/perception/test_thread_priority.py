import _thread
import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from impatient_ros.perception import thread_priority
from impatient_ros.perception.process_threads import COMPUTING, computing, named, schedule
from impatient_ros.perception.thread_priority import RealTime, RealTimeState, switch_threads_every

ROOT = Path(__file__).resolve().parents[2]


def permitted():
    """Whether this process may schedule in real time."""
    found = []

    def attempt():
        try:
            schedule(threading.get_native_id(), 1)
            found.append(True)
        except (AttributeError, OSError):
            found.append(False)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return found[0]


needs_permission = pytest.mark.skipif(
    not permitted(), reason='this process may not schedule in real time (CAP_SYS_NICE, rtprio)'
)


def policy(tid=0):
    """SCHED_OTHER or SCHED_FIFO, and the priority."""
    return os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority


ORDINARY = (os.SCHED_OTHER, 0)


def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def realtime():
    """Makes one, started; it is stopped afterwards."""
    made = []

    def make(*args, **options):
        made.append(RealTime(*args, **options))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def pool():
    """Starts a thread that Python knows nothing of, as a runtime does; returns its id."""
    ending = threading.Event()

    def start():
        started = threading.Event()
        tid = []

        def run():
            tid.append(_thread.get_native_id())
            started.set()
            ending.wait()

        _thread.start_new_thread(run, ())
        started.wait()
        return tid[0]

    yield start
    ending.set()


def test_off_it_leaves_everything_as_it_is(realtime, pool):
    off = realtime()
    others = len(named(COMPUTING))  # pools of other tests

    def classify():
        with computing():
            worker = pool()
        off.enter(COMPUTING)
        off.cover_pools()
        return policy(), policy(worker), os.sched_getaffinity(worker)

    assert in_a_thread(classify) == (ORDINARY, ORDINARY, os.sched_getaffinity(0))
    state = off.state()
    assert (state.priority, state.problem) == (0, '')
    assert state.threads == others + 2


@needs_permission
class TestPermitted:
    def test_those_that_compute_and_one_more_for_the_one_that_delivers(self, realtime, pool):
        on = realtime(3)
        stranger = pool()

        def classify():
            with computing():
                worker = pool()
            on.enter(COMPUTING)
            on.cover_pools()
            return policy(), policy(worker)

        def deliver():
            on.enter('delivery', above=1)
            return policy()

        assert in_a_thread(classify) == ((os.SCHED_FIFO, 3), (os.SCHED_FIFO, 3))
        assert in_a_thread(deliver) == (os.SCHED_FIFO, 4)
        assert policy() == policy(stranger) == ORDINARY
        assert on.state().priority == 3
        assert on.state().problem == ''

    def test_afterwards_pools_are_ordinary_again(self, pool):
        on = RealTime(3, {min(os.sched_getaffinity(0))})
        on.start()

        def classify():
            with computing():
                worker = pool()
            on.enter(COMPUTING)
            on.cover_pools()
            return worker, policy(worker), os.sched_getaffinity(worker)

        worker, before, cores = in_a_thread(classify)
        assert (before, len(cores)) == ((os.SCHED_FIFO, 3), 1)
        on.stop()
        assert (policy(worker), os.sched_getaffinity(worker)) == (ORDINARY, os.sched_getaffinity(0))
        on.stop()  # twice is no error

    def test_what_a_runtime_starts_later_is_covered_at_once_or_with_the_next_look(self, realtime, pool):
        on = realtime(3, window=0.2)
        late, ended = threading.Event(), threading.Event()
        found = {}

        def classify():
            on.enter(COMPUTING)
            on.cover_pools()
            found['inherited'] = policy(pool())
            late.wait()

        def load_another():  # in a thread that has no such policy
            with computing():
                found['worker'] = pool()
            ended.set()

        classifying = threading.Thread(target=classify)
        classifying.start()
        threading.Thread(target=load_another).start()
        ended.wait()
        until = time.monotonic() + 20
        while policy(found['worker']) == ORDINARY and time.monotonic() < until:
            time.sleep(0.01)
        late.set()
        classifying.join()
        assert found['inherited'] == (os.SCHED_FIFO, 3)
        assert policy(found['worker']) == (os.SCHED_FIFO, 3)

    def test_a_thread_that_takes_a_core_for_itself_is_put_back_to_ordinary_scheduling(self, realtime, pool):
        # Short, so that whoever else works on this machine is not held up for long.
        on = realtime(3, limit=0.6, window=0.2)
        found = {}

        def burn():
            with computing():
                found['worker'] = pool()
            on.enter(COMPUTING)
            on.cover_pools()
            found['before'] = policy(), policy(found['worker'])
            until = time.monotonic() + 20
            while policy() != ORDINARY and time.monotonic() < until:
                pass
            found['after'] = policy()

        in_a_thread(burn)
        assert found['before'] == ((os.SCHED_FIFO, 3), (os.SCHED_FIFO, 3))
        assert found['after'] == policy(found['worker']) == ORDINARY
        state = on.state()
        assert state.priority == 0
        assert state.busiest_share > 0.6
        assert 'realtime_priority 3 was given up' in state.problem
        assert f'of core {state.busiest_core}' in state.problem

        def late():
            on.enter('delivery', above=1)
            return policy()

        assert in_a_thread(late) == ORDINARY

    def test_one_that_leaves_enough_keeps_it(self, realtime):
        on = realtime(3, limit=0.9, window=0.2)

        def work():
            on.enter(COMPUTING)
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                pause = time.monotonic() + 0.002
                while time.monotonic() < pause:
                    pass
                time.sleep(0.006)
            return policy()

        assert in_a_thread(work) == (os.SCHED_FIFO, 3)
        assert on.state().problem == ''
        assert 0.05 < on.state().busiest_share < 0.9

    @pytest.mark.parametrize(
        ('where', 'error'),
        [('cover_pools', RuntimeError('no idea')), ('cpu_seconds', OSError(errno.EMFILE, 'too many files'))],
    )
    def test_a_watchdog_that_fails_or_cannot_read_a_thread_ends_real_time(
        self, realtime, monkeypatch, where, error
    ):
        on = realtime(3, window=0.2)

        def fail(*arguments):
            raise error

        monkeypatch.setattr(on if hasattr(on, where) else thread_priority, where, fail)

        def classify():
            on.enter(COMPUTING)
            until = time.monotonic() + 20
            while policy() != ORDINARY and time.monotonic() < until:
                time.sleep(0.01)
            return policy()

        assert in_a_thread(classify) == ORDINARY
        assert error.args[-1] in on.state().problem

    @pytest.mark.parametrize('number', [errno.EINVAL, errno.ENOENT, errno.ESRCH])
    def test_a_thread_that_has_ended_does_not(self, realtime, monkeypatch, number):
        on = realtime(3, window=0.2)
        looked = threading.Semaphore(0)

        def ended(tid):
            looked.release()
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(thread_priority, 'cpu_seconds', ended)

        def classify():
            on.enter(COMPUTING)
            assert all(looked.acquire(timeout=20) for _ in range(3)), 'it looks again and again'
            return policy()

        assert in_a_thread(classify) == (os.SCHED_FIFO, 3)
        assert on.state().problem == ''

    def test_what_the_system_does_not_say_this_time_is_kept(self, realtime, monkeypatch):
        on = realtime(3)

        def classify():
            on.enter(COMPUTING)
            monkeypatch.setattr(thread_priority, 'thread_ids', set)
            on.cover_pools()
            return on.state().threads

        assert in_a_thread(classify) == 1


def test_where_it_is_not_permitted_the_reason_and_the_line_to_add_are_said(realtime, monkeypatch):
    def refuse(*arguments):
        raise PermissionError('Operation not permitted')

    monkeypatch.setattr(os, 'sched_setscheduler', refuse)
    on = realtime(5)
    in_a_thread(lambda: on.enter(COMPUTING))
    state = on.state()
    assert state.priority == 0
    assert state.problem.startswith('realtime_priority 5 is not permitted here (Operation not permitted)')


NOT_PERMITTED = """
import os, resource, threading
from impatient_ros.perception.thread_priority import RealTime

resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
realtime = RealTime(10)
realtime.start()
realtime.enter('inference')
assert os.sched_getscheduler(0) == os.SCHED_OTHER
print(realtime.state())
realtime.stop()
"""


def test_a_process_that_may_not_runs_on_with_ordinary_scheduling():
    command = [sys.executable, '-c', NOT_PERMITTED]
    if os.geteuid() == 0:  # whom no limit binds but for the capability
        if shutil.which('setpriv') is None:
            pytest.skip('needs setpriv (util-linux) to give CAP_SYS_NICE up')
        command = ['setpriv', '--bounding-set=-sys_nice', '--inh-caps=-sys_nice', *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert 'realtime_priority 10 is not permitted here' in done.stdout
    assert "rtprio 11' to /etc/security/limits.conf" in done.stdout


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason='needs two cores')
def test_cores_go_without_priority_too(realtime, pool):
    [first, *_] = everywhere = sorted(os.sched_getaffinity(0))
    placed = realtime(0, (first,))

    def classify():
        with computing():
            worker = pool()
        placed.enter(COMPUTING)
        placed.cover_pools()
        return os.sched_getaffinity(0), os.sched_getaffinity(worker), policy(), worker

    mine, of_worker, scheduled, worker = in_a_thread(classify)
    assert mine == of_worker == {first}
    assert scheduled == ORDINARY
    assert os.sched_getaffinity(0) == set(everywhere)
    placed.stop()
    assert os.sched_getaffinity(worker) == set(everywhere)


def test_cores_that_cannot_be_had_any_more_are_said_and_lived_with(realtime):
    gone = realtime(0, (4095,))
    in_a_thread(lambda: gone.enter(COMPUTING))
    assert 'cpu_affinity' in gone.state().problem


def test_a_state_says_nothing_where_nothing_was_asked_for():
    assert RealTimeState() == RealTime().state()


# A model is loaded and runs frames, twice, in threads of their own as in the node. Prints each time: threads
# that were there before the first one, all others but the watchdog, and which of both were in real time.
POOLS = """
import gc, json, os, sys, threading
from functools import partial
import numpy as np
from impatient_ros.anytime import AnytimeClassifier, profile
from impatient_ros.perception.process_threads import COMPUTING, computing, thread_ids
from impatient_ros.perception.thread_priority import RealTime

profile.measure = partial(profile.measure, rounds=3)  # how long it takes does not matter here
before = thread_ids()
picture = np.zeros((720, 1280, 3), np.uint8)

def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    while thread.native_id in thread_ids():  # join returns before Linux has taken it down
        pass
    return found[0]

def load():
    with computing():
        return AnytimeClassifier.from_checkpoint(
            'models/clothing10.safetensors', device='cpu', runtime=sys.argv[1], cpu_threads=2
        )

for _ in range(2):
    classifier = in_a_thread(load)
    realtime = RealTime(3, limit=1.0)
    realtime.start()

    def classify():
        realtime.enter(COMPUTING)
        classifier.warm_up()
        realtime.cover_pools()
        for _ in range(5):
            classifier.classify(picture)
        watchdog = realtime._thread.native_id
        return [
            {tid: os.sched_getscheduler(tid) == os.SCHED_FIFO for tid in tids}
            for tids in (before, thread_ids() - before - {watchdog})
        ]

    others, ours = in_a_thread(classify)
    realtime.stop()
    left = [tid for tid in thread_ids() if os.sched_getscheduler(tid) != os.SCHED_OTHER]
    print(json.dumps({'others': others, 'ours': ours, 'left': left}))
    del classifier
    gc.collect()
"""


@needs_permission
@pytest.mark.timeout(300)  # importing torch on a busy machine
@pytest.mark.parametrize(('runtime', 'package'), [
    ('openvino', 'openvino'), ('onnxruntime', 'onnxruntime'), ('eager', 'torch'),
])  # fmt: skip
def test_every_thread_of_a_runtimes_pools_is_covered_and_none_else(runtime, package):
    if find_spec(package) is None:
        pytest.skip(f'needs {package}')
    command = [sys.executable, '-W', 'ignore', '-c', POOLS, runtime]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{')]
    assert len(found) == 2
    for each in found:
        assert set(each['others'].values()) == {False}
        assert set(each['ours'].values()) == {True}
        assert len(each['ours']) > 1  # the one that classifies, and at least one of a pool
        assert each['left'] == []


def test_the_switch_interval_is_set_and_goes_back_to_pythons_own():
    before = sys.getswitchinterval()
    try:
        switch_threads_every(0.0005)
        assert sys.getswitchinterval() == pytest.approx(0.0005)
        switch_threads_every(0.0)
        assert sys.getswitchinterval() == pytest.approx(0.005)
    finally:
        sys.setswitchinterval(before)
