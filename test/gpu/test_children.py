import os
import sys
import time

from gpu import children


def run(program, limit=60.0):
    return children.run([sys.executable, '-c', program], cwd='/', env=os.environ, limit=limit)


def test_output_is_shown_as_it_comes_and_its_end_is_kept(capfd):
    ended = run(
        'import sys\nfor i in range(1000): print(i)\nsys.stdout.flush()\nprint("last", file=sys.stderr)'
    )
    lines = ended.output.split()
    assert ended.code == 0
    assert len(lines) == children.KEPT
    assert lines[-1] == 'last'
    assert capfd.readouterr().out.startswith('0\n1\n2\n')


def test_a_failure_is_its_exit_status():
    assert run('raise SystemExit(3)').code == 3


def test_what_hangs_is_ended_with_what_it_started(monkeypatch):
    monkeypatch.setattr(children, 'GRACE', 0.2)
    began = time.monotonic()
    # Both refuse to end when they are asked, and hold the output open.
    program = (
        'import os, signal, time\n'
        'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
        'print(os.fork(), flush=True)\n'
        'time.sleep(600)'
    )
    ended = run(program, limit=1.0)
    assert ended.code is None
    assert time.monotonic() - began < 60
