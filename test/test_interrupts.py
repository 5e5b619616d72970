"""Ctrl-C while a program imports what it needs: real processes, held in the middle of an import."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = 'from impatient_ros.ros.programs import {0}; {0}()'
# Stands for a package that takes long to import.
SLOW = 'import sys\nprint("importing", flush=True)\nsys.stdin.read()\n'
MODULES = {
    'rclpy': [
        ('-m', 'impatient_ros.ros.perception_node'),
        ('-m', 'impatient_ros.ros.replay_camera'),
        ('-m', 'impatient_ros.ros.demo'),
        ('-c', PROGRAM.format('perception_node')),
        ('-c', PROGRAM.format('replay_camera')),
    ],
    'torch': [('-m', 'impatient_ros.network'), ('-m', 'training.train')],
}


def interrupted(arguments, handler, **variables):
    """(exit code, stderr) of a Python that is interrupted when it has written its first line."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What it inherits would depend on how the tests were started: background jobs ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
    )
    with process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        if handler == signal.SIG_IGN:
            process.stdin.close()
        return process.wait(60), process.stderr.read()


@pytest.mark.parametrize(
    ('slow', 'arguments'),
    [(slow, arguments) for slow, all_of_it in MODULES.items() for arguments in all_of_it],
)
def test_a_program_that_is_still_importing_ends_quietly(tmp_path, slow, arguments):
    (tmp_path / f'{slow}.py').write_text(SLOW)
    assert interrupted(arguments, signal.SIG_DFL, PYTHONPATH=str(tmp_path)) == (130, '')


def test_so_does_a_command_that_does_not_handle_it():
    waiting = 'import sys; print("line", flush=True); sys.stdin.read()'
    source = f'from impatient_ros.standard_output import run_command\nrun_command(lambda: exec({waiting!r}))'
    assert interrupted(('-c', source), signal.SIG_DFL) == (130, '')


def test_where_it_is_ignored_it_stays_ignored(tmp_path):
    (tmp_path / 'rclpy.py').write_text(SLOW + 'sys.exit(7)\n')
    arguments = ('-m', 'impatient_ros.ros.perception_node')
    assert interrupted(arguments, signal.SIG_IGN, PYTHONPATH=str(tmp_path)) == (7, '')


def test_importing_the_package_changes_nothing_for_others():
    source = 'import signal, impatient_ros; print(signal.getsignal(2) is signal.default_int_handler)'
    done = subprocess.run(
        [sys.executable, '-c', source],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.stdout == 'True\n'


@pytest.mark.parametrize('start', [['-m', 'theirs.main'], ['-mtheirs.main'], ['-um', 'theirs.main']])
def test_nor_does_it_for_modules_of_others_that_import_it_early(tmp_path, start):
    package = tmp_path / 'theirs'
    package.mkdir()
    (package / '__init__.py').write_text('import impatient_ros')
    (package / 'main.py').write_text(
        'import signal; print(signal.getsignal(2) is signal.default_int_handler)'
    )
    done = subprocess.run(
        [sys.executable, *start],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.stdout == 'True\n'
