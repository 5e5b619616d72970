"""Real processes, because what fails is their end: flushing what nobody reads."""

import subprocess
import sys

import pytest

LONG = 'print("line\\n" * 100_000)'  # more than a pipe holds
# Ends when the reader has left: the test closes stdin after stdout.
WAIT = 'sys.stdin.read()'


def command(*lines, keep_reading=False):
    """(exit code, stderr) of a command whose `main` has these lines; its reader leaves after one line."""
    main = '\n'.join(['def main():', *(f' {line}' for line in lines)])
    source = f'import sys\nfrom impatient_ros.standard_output import run_command\n{main}\nrun_command(main)'
    pipes = dict.fromkeys(('stdin', 'stdout', 'stderr'), subprocess.PIPE)
    with subprocess.Popen([sys.executable, '-c', source], text=True, **pipes) as process:
        process.stdout.readline()
        if keep_reading:
            process.stdout.read()
        process.stdout.close()
        process.stdin.close()
        return process.wait(60), process.stderr.read()


@pytest.mark.parametrize('unbuffered', ['', '1'])
@pytest.mark.parametrize(
    'lines',
    [
        (LONG, 'return 0'),
        ('print("line", flush=True)', WAIT, 'print("unread")', 'return 0'),
        ('import argparse', 'argparse.ArgumentParser(epilog="e " * 100_000).parse_args(["--help"])'),
    ],
)
def test_a_command_without_a_reader_ends_quietly(lines, unbuffered, monkeypatch):
    monkeypatch.setenv('PYTHONUNBUFFERED', unbuffered)
    assert command(*lines) == (0, '')


def test_the_exit_code_is_that_of_the_command():
    assert command(LONG, 'return 3', keep_reading=True) == (3, '')
    assert command('print()', 'sys.exit("a message")', keep_reading=True) == (1, 'a message\n')


def test_a_failure_after_the_reader_left_is_still_reported():
    code, errors = command('print("line", flush=True)', WAIT, 'raise ValueError("a bug")')
    assert code == 1
    assert 'ValueError: a bug' in errors


def test_a_pipe_that_broke_elsewhere_is_no_quiet_end():
    lines = ('print("line", flush=True)', 'raise BrokenPipeError("to a worker")')
    code, errors = command(*lines, keep_reading=True)
    assert code == 1
    assert 'to a worker' in errors
