"""The demo end to end, with a scripted node: its summary, its exit code, and that nothing is left behind."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from impatient_ros.ros.demo.command import main

pytestmark = pytest.mark.ros

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).with_name('fake_perception.py')
DEMO = """
import sys
from impatient_ros.demo.known_classes import KnownClasses
from impatient_ros.demo.ladder import PathCost
from impatient_ros.ros.demo.command import main
from impatient_ros.standard_output import run_command

class Model:
    def __init__(self, parameters):
        assert parameters['model'] is None or parameters['model'].endswith('my.safetensors')
    paths = tuple(PathCost(224, index, 0.001 * (index + 1), 0.5 + 0.1 * index) for index in range(5))
    machine = 'scripted'
    def known_classes(self):
        return KnownClasses(['lemon', 'orange'])
    def answers(self, path, pictures):
        return {name: 'lemon' for name in pictures}

run_command(lambda: main(sys.argv[3:], node_command=[sys.executable, *sys.argv[1:3]], load_model=Model))
"""
PATIENCE = 60.0  # s for a whole demo


@pytest.fixture(autouse=True)
def _temporary_pages(tmp_path, monkeypatch):
    """Pages that are not asked for go into temporary files."""
    monkeypatch.setenv('TMPDIR', str(tmp_path))


def demo(behaviour, *arguments, **options):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'COLUMNS': '110'}
    command = [sys.executable, '-c', DEMO, str(FAKE), behaviour, *map(str, arguments)]
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True} | options
    return subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True, **pipes)


def run(behaviour, *arguments):
    """(exit code, output) of a demo that ends by itself."""
    process = demo(behaviour, *arguments)
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return process.returncode, output


def count(output, what):
    """The number in that line of the summary."""
    summary = output[output.index('What became of every frame') :]
    return int(re.search(rf'^\s*{what}\s+(\d+)', summary, re.MULTILINE)[1])


def test_with_frames_it_ends_by_itself_and_every_frame_is_accounted_for(tmp_path):
    page = tmp_path / 'page.html'
    code, output = run(
        'play', '--frames', 40, '--rate', 40, '--record', tmp_path / 'demo.svg', '--page', page
    )
    assert code == 0, output
    assert count(output, 'frames published') == 40
    assert count(output, 'answered') == 20
    for exit_number in range(1, 6):
        assert count(output, f'exit {exit_number} of 5') == 4
    for outcome in ('late', 'missed', 'infeasible', 'superseded', 'dropped'):
        assert count(output, outcome) == 4
    assert 'not received' not in output
    assert 'encoding: 4' in output
    assert re.search(r'slack p50\s+\+10.0 ms', output)
    assert re.search(r'slack p99\s+-2.0 ms', output)
    assert 'unaccounted' not in output
    assert len(re.findall(r'^frame \d+ ', output, re.MULTILINE)) == 40
    line = r'^frame 1  01-lemon.jpg  lemon 0.75  right  exit 1 of 5  slack \+10.0 ms  of \d+\.\d ms  plain: '
    assert re.search(line, output, re.MULTILINE)
    assert 'node: profiling: 100%' in output
    # Answers in time are the first five of each ten frames, and each ten pictures begin with a lemon: 4 are
    # right. The plain network says lemon to all.
    result = 'in time and right: impatient 4 of 8, the best plain network (exit 1 of 5) 4 of 8, estimated'
    assert result in output
    assert f'<h1>{result}' in page.read_text()
    assert output.splitlines()[-1] == f'more of it, as a page: {page}'
    assert 'What became' in re.sub('&#160;|\xa0', ' ', (tmp_path / 'demo.svg').read_text())


def test_frames_that_the_node_swallows_or_reports_twice_are_an_error():
    code, output = run('swallow', '--frames', 20, '--rate', 40)
    assert code == 1
    assert count(output, 'unaccounted') == 2
    assert count(output, 'unexpected') == 1
    assert 'not received' not in output


def test_a_frame_that_never_arrived_is_counted_as_not_received_and_no_error():
    code, output = run('lose', '--frames', 20, '--rate', 40)
    assert code == 0, output
    assert count(output, 'not received') == 2
    assert 'unaccounted' not in output


def test_when_the_node_dies_its_last_words_are_shown():
    code, output = run('die', '--frames', 100, '--rate', 40)
    assert code == 1
    assert 'the perception node died (exit code 3)' in output
    assert 'the network caught fire' in output
    assert count(output, 'unaccounted') >= 1


def test_when_the_node_cannot_start_the_demo_ends_and_says_why():
    code, output = run('refuse')
    assert code == 1
    assert 'the perception node did not start' in output
    assert 'cannot configure: no such model' in output


@pytest.fixture
def album(tmp_path):
    for index in range(4):
        cv2.imwrite(str(tmp_path / f'{index}.png'), np.full((40, 60, 3), 99, np.uint8))
    return tmp_path


def test_a_source_is_played_once_and_the_nodes_exit_code_is_passed_on(album):
    code, output = run('sulk', '--source', album, '--rate', 40)
    assert code == 1
    assert count(output, 'frames published') == 4
    assert 'unaccounted' not in output
    assert 'ended with exit code 4' in output


@pytest.mark.parametrize('plain', [False, True])
def test_with_the_real_node_it_measures_the_paths_and_compares_or_runs_the_plain_network(
    album, tiny_model, tmp_path, plain
):
    for number, name in enumerate(('cat', 'dog', 'house', 'cat')):
        (album / f'{number}.png').rename(album / f'{number}-{name}.png')
    arguments = ['--model', tiny_model, '--source', album, '--frames', '12', '--rate', '20', '--no-load']
    arguments += ['--page', tmp_path / 'page.html', *(['--plain'] if plain else [])]
    command = [sys.executable, '-m', 'impatient_ros.ros.demo', *map(str, arguments)]
    environment = {**os.environ, 'COLUMNS': '110'}
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert count(done.stdout, 'frames published') == 12
    ours = '' if plain else r'impatient \d+ of 12, '
    rest = '' if plain else ', estimated'
    result = re.search(
        rf'^in time and right: {ours}the best plain network \(exit (\d) of 4\) \d+ of 12{rest}$',
        done.stdout,
        re.MULTILINE,
    )
    assert result, done.stdout
    assert result[0] in (tmp_path / 'page.html').read_text()
    if plain:  # every answer went that path
        assert set(re.findall(r'^frame .*  exit (\d) of 4  ', done.stdout, re.MULTILINE)) <= {result[1]}


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['--source', 'gone.mcap'], 'gone.mcap does not exist: write SOURCE='),
        (['--topic', '/eye'], 'TOPIC=/eye makes sense for bags only'),
        (['--frames', '0'], '0 is not 1 or more'),
        (['--record', 'a.png'], 'ends in neither .svg nor .html'),
        (['--page', 'no/such/folder/a.html'], 'name a file in a folder that exists'),
        (['--page', '.'], 'name a file in a folder that exists'),
    ],
)
def test_what_cannot_be_shown_is_said_before_anything_starts(capsys, arguments, says):
    try:
        code = main(arguments, node_command=['/nonexistent'])
    except SystemExit as ended:
        code = ended.code
    assert code in (1, 2)
    assert says in ' '.join(''.join(capsys.readouterr()).split())


def children(pid):
    """The processes whose parent is `pid`, as Linux lists them."""
    listed = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    return [int(child) for child in listed]


def alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def test_on_a_terminal_it_shows_a_screen_until_ctrl_c_and_leaves_nothing_behind():
    ours, theirs = pty.openpty()
    process = demo('play', '--rate', 40, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen, end = b'', time.monotonic() + PATIENCE
    try:
        while b'replaying' not in screen and time.monotonic() < end:
            screen += os.read(ours, 4096)
        pids = children(process.pid)
        assert len(pids) == 2  # the node and the camera
        process.send_signal(signal.SIGINT)
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:  # the terminal's other side is closed
                break
            screen += data
        assert process.wait(PATIENCE) == 0, screen.decode(errors='replace')
    finally:
        process.kill()
        os.close(ours)
    text = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', screen.decode(errors='replace')).replace('\r', '')
    assert 'starting the perception node' in text
    assert count(text, 'frames published') >= 1
    assert 'unaccounted' not in text
    assert not any(alive(pid) for pid in pids)


def test_as_a_background_job_that_ignores_ctrl_c_it_ends_on_sigterm_too(album):
    process = demo('play', '--source', album, '--frames', 10000, '--rate', 40)
    lines = iter(process.stdout.readline, '')
    try:
        assert any(line.startswith('frame 3 ') for line in lines)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(PATIENCE) == 0, rest
    finally:
        process.kill()
        process.stdout.close()
    assert count(rest, 'frames published') >= 3


def test_when_nobody_reads_its_lines_any_more_it_ends_quietly_and_leaves_nothing_behind(album):
    process = demo('play', '--source', album, '--frames', 10000, '--rate', 40, stderr=subprocess.PIPE)
    try:
        assert any(line.startswith('frame 3 ') for line in iter(process.stdout.readline, ''))
        pids = children(process.pid)
        process.stdout.close()
        with process.stderr:
            errors = process.stderr.read()
        assert (process.wait(PATIENCE), errors) == (0, '')
    finally:
        process.kill()
    assert len(pids) == 2  # the node and the camera
    assert not any(alive(pid) for pid in pids)
