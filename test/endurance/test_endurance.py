"""Two minutes of the real node under every attack. What takes how long is not judged here."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy')
pytestmark = [pytest.mark.ros, pytest.mark.timeout(1200)]
# Seconds: every wait in it has an end of its own, and a busy machine may come near none of them.
LIMIT = 1100


def test_every_frame_is_accounted_for_and_the_node_goes_on(tmp_path):
    from endurance.attacks import ATTACKS

    program = Path(__file__).with_name('run.py')
    command = [sys.executable, str(program), '--minutes', '2', '--out', str(tmp_path)]
    with (tmp_path / 'output').open('w+') as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            process.wait(LIMIT)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # the node is in its session
        output.seek(0)
        said = output.read()
    assert (tmp_path / 'report.json').exists(), said
    report = json.loads((tmp_path / 'report.json').read_text())
    failures = [text for kind, text in report['failures'] if kind != 'misses']
    assert not failures, said + (tmp_path / 'node.log').read_text(errors='replace')[-5000:]
    assert (report['difference'], report['ended'], report['internal_errors']) == (0, 0, 0)
    assert all(report['attacks'][name]['times'] >= 1 for name in ATTACKS)
    assert report['attacks']['undisturbed']['balance']['outcomes'].get('answered', 0) > 0
    table = (tmp_path / 'table.md').read_text()
    assert all(f'| {name} |' in table for name in ATTACKS)
