"""What runs on a machine with a GPU, here on the CPU without the packages that such a machine may lack."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(300)  # a handful of processes that import torch, 25 s of processor time

# Read by every Python that is started with it on its path.
WITHOUT = """
import sys
from importlib.machinery import PathFinder

MISSING = 'rclpy openvino onnx onnxruntime ml_dtypes platformdirs rosbags rich lightning'.split()


class Without:
    find_distributions = PathFinder.find_distributions
    invalidate_caches = PathFinder.invalidate_caches

    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.split('.')[0] in MISSING else PathFinder.find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""


def gpu_run(*arguments, **environ):
    return subprocess.run(
        [sys.executable, str(ROOT / 'gpu' / 'run.py'), *map(str, arguments)],
        cwd='/',
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope='module')
def dry(tmp_path_factory):
    """The output and the folder of one dry run."""
    scratch = tmp_path_factory.mktemp('gpu')
    (scratch / 'sitecustomize.py').write_text(WITHOUT)
    done = gpu_run('--dry', '--out', scratch / 'out', PYTHONPATH=str(scratch))
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (scratch / 'out').iterdir()
    return done.stdout, folder


def test_a_dry_run_writes_one_folder_with_everything(dry):
    output, folder = dry
    assert folder.name.startswith('dry-')
    assert {file.name for file in folder.iterdir()} == {
        'speed.json', 'deadlines.json', 'tests.txt', 'machine.json', 'README.md',
    }  # fmt: skip
    assert json.loads((folder / 'machine.json').read_text())['torch']
    for part in ('tests', 'speed', 'deadlines'):
        assert f'== {part} ' in output, 'a line per case'


def test_its_tests_are_those_of_cuda(dry):
    text = (dry[1] / 'tests.txt').read_text()
    assert 'test_every_way_to_an_exit_answers_as_the_cpu[bf16]' in text
    assert 'test_cuda_answers_like_the_cpu' in text
    assert 'error' not in text.lower()


def test_its_speed_has_every_exit_in_its_precision(dry):
    records = json.loads((dry[1] / 'speed.json').read_text())
    for what in ('contract', 'truncated', 'interruptible'):
        mine = [each for each in records if each['what'] == what]
        assert [each['exit'] for each in mine] == [1, 2, 3, 4, 5]
        assert all(each['ms_p50'] > 0 and each['precision'] == 'f32' for each in mine)


def test_its_deadlines_count_every_frame_once_and_claim_no_accuracy_that_nobody_measured(dry):
    (record,) = json.loads((dry[1] / 'deadlines.json').read_text())
    assert sum(record['paths'].values()) == record['frames'] == 10
    assert record['met'] + record['paths'].get('none', 0) == record['frames']
    assert record['budget_ms'][0] < record['budget_ms'][1]
    assert record['expected_accuracy'] is None


def test_its_readme_shows_tests_speed_and_deadlines(dry):
    text = (dry[1] / 'README.md').read_text()
    assert re.search(r'`\d+/\d+ tests collected', text), 'the last line of pytest'
    assert '| shufflenet_v2_x0_5 | cpu, eager, f32 |' in text
    assert 'of 10 (' in text


@pytest.mark.slow  # training starts two processes, each of which takes 10 s to import what it needs
def test_a_learning_run_is_trained_evaluated_and_goes_on_from_where_it_was(tmp_path):
    where = ('--data', tmp_path / 'data', '--out', tmp_path / 'out', '--state', tmp_path / 'state')
    done = gpu_run('smoke', '--dry', '--budget', 300, *where)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / 'out' / 'smoke'
    assert {'model.safetensors', 'evaluation.json', 'last.ckpt', 'curve.csv'} <= {
        file.name for file in folder.iterdir()
    }
    (tmp_path / 'state').mkdir()
    folder.rename(tmp_path / 'state' / 'smoke')
    (tmp_path / 'state' / 'smoke' / 'model.safetensors').unlink()
    done = gpu_run('smoke', '--dry', '--budget', 300, *where)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'resuming from' in done.stdout
    (report,) = (tmp_path / 'out').glob('dry-*/README.md')
    assert 'smoke: 2 epochs' in report.read_text()


def test_what_there_is_no_time_for_is_left_out_and_named(tmp_path):
    done = gpu_run('speed', '--dry', '--budget', 0, '--out', tmp_path)
    assert done.returncode == 1
    assert 'speed shufflenet_v2_x0_5: left out, the time is over' in done.stdout
    (report,) = tmp_path.glob('dry-*/README.md')
    assert 'left out, the time is over' in report.read_text()
