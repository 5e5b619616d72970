"""The load in the middle of the run: when it is on, and that it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from impatient_ros.demo.load import ENDLESS, BusyProcesses, loaded_at

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('frames', [1, 2, 3, 10, 99, 100, 200])
def test_the_middle_third_is_loaded(frames):
    loaded = [number for number in range(1, frames + 1) if loaded_at(number, frames)]
    assert loaded == list(range(frames // 3 + 1, 2 * frames // 3 + 1))


def test_a_run_without_end_is_loaded_again_and_again():
    assert [number for number in range(1, 2 * ENDLESS + 1) if loaded_at(number, None)] == [
        *range(ENDLESS // 3 + 1, 2 * ENDLESS // 3 + 1),
        *range(ENDLESS + ENDLESS // 3 + 1, ENDLESS + 2 * ENDLESS // 3 + 1),
    ]


def processor_time(pid):
    """Clock ticks that the process has computed for."""
    return int(Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[11])


def test_they_compute_while_switched_on_and_are_gone_when_switched_off():
    busy = BusyProcesses()
    assert not busy.on
    busy.switch(on=True)
    try:
        processes = list(busy._running)
        assert busy.on
        assert len(processes) == len(os.sched_getaffinity(0))
        busy.switch(on=True)
        assert busy._running == processes  # not twice as many
        while processor_time(processes[0].pid) < 5:
            assert processes[0].poll() is None
    finally:
        busy.switch(on=False)
    assert not busy.on
    assert all(process.poll() is not None for process in processes)


def test_they_end_by_themselves_when_their_parent_was_killed():
    code = (
        'import os, signal\n'
        'from impatient_ros.demo.load import BusyProcesses\n'
        'busy = BusyProcesses()\n'
        'busy.switch(on=True)\n'
        'print(busy._running[0].pid, flush=True)\n'
        'os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    # The busy processes hold the pipe, too: it ends with the last of them, or this raises TimeoutExpired.
    ended = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert int(ended.stdout) > 0
