"""The demo's children: their output is read, and they end when told, or when made to."""

import os
import signal
import socket
import sys
import threading
import time

import pytest

from impatient_ros.demo.processes import Child, free_domain, readable


def child(code, on_output=None):
    return Child('child', [sys.executable, '-u', '-c', code], os.environ, on_output)


def wait(process):
    for _ in range(2000):
        if process.exit_code is not None:
            return
        time.sleep(0.01)
    raise TimeoutError('the child goes on')


def test_output_and_errors_are_kept_line_by_line():
    process = child('import sys; print("one"); print("two", file=sys.stderr); sys.exit(3)')
    wait(process)
    assert process.end(grace=5) == 3
    assert sorted(process.last_lines(5)) == ['one', 'two']
    assert sorted(process.new_lines()) == ['one', 'two']
    assert process.new_lines() == []


def test_stdout_goes_to_its_reader_and_stderr_to_the_log():
    seen = []
    process = child(
        'import sys; print("data"); print("log", file=sys.stderr)', lambda lines: seen.extend(lines)
    )
    wait(process)
    process.end(grace=5)
    assert seen == ['data\n']
    assert process.last_lines(5) == ['log']


def test_an_obedient_child_ends_at_the_interrupt():
    ready = threading.Event()
    process = child(
        'import signal, sys, time\n'
        'signal.signal(signal.SIGINT, lambda *_: sys.exit(7))\n'
        'print("ready"); time.sleep(60)',
        lambda lines: [ready.set() for _ in lines],
    )
    assert ready.wait(20)
    assert process.exit_code is None
    assert process.end(grace=20) == 7


def test_a_child_that_ignores_the_interrupt_is_terminated_and_said_so(caplog):
    ready = threading.Event()
    process = child(
        'import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint("ready"); time.sleep(60)',
        lambda lines: [ready.set() for _ in lines],
    )
    assert ready.wait(20)
    assert process.end(grace=0.2) == -signal.SIGTERM
    assert 'the child is still running after 0.2 s' in caplog.text


def test_the_terminals_ctrl_c_does_not_reach_a_child():
    process = child('import time; time.sleep(60)')
    assert os.getsid(process._process.pid) != os.getsid(0)
    process.end(grace=20)


def test_undecodable_output_does_no_harm():
    process = child('import sys; sys.stdout.buffer.write(b"\\xff\\n")')
    wait(process)
    process.end(grace=5)
    assert len(process.last_lines(1)) == 1


@pytest.mark.parametrize(
    ('line', 'level', 'text'),
    [
        ('[INFO] [1763890000.123456789] [perception]: profiling: 40%', 'INFO', 'profiling: 40%'),
        ('\x1b[33m[WARN] [1763890000.1] [a.b]: careful\x1b[0m', 'WARN', 'careful'),
        ('Traceback (most recent call last):', '', 'Traceback (most recent call last):'),
        ('', '', ''),
    ],
)
def test_log_lines_lose_what_people_do_not_need(line, level, text):
    assert readable(line) == (level, text)


def test_a_domain_is_free_when_nobody_listens_on_its_first_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        for candidate in range(60, 102):
            try:
                taken.bind(('', 7400 + 250 * candidate + 10))
                break
            except OSError:
                continue
        with pytest.raises(OSError, match='set ROS_DOMAIN_ID'):
            free_domain([candidate])
    assert free_domain([candidate]) == candidate
