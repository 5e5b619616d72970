"""test/benchmark/accuracy.py, for real on a handful of pictures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from impatient_ros.checkpoint import load

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / 'config' / 'demo' / 'clothing'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The demo's pictures as a data set: <split>/<class>/<picture>, each picture in both splits."""
    folder = tmp_path_factory.mktemp('data')
    for picture in PICTURES.glob('*.jpg'):
        label = picture.stem.split('-', 1)[1]
        for split in ('train', 'validation'):
            (folder / split / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, folder / split / label)
    return folder


def test_a_long_budget_is_as_good_as_the_plain_network_and_a_tiny_one_is_infeasible(data, tmp_path):
    out = tmp_path / 'out.json'
    command = [
        sys.executable,
        'test/benchmark/accuracy.py',
        '--data',
        data,
        '--json',
        out,
        '--runtime',
        'eager',
        '--checkpoint',
        'models/clothing10.safetensors',
    ]
    done = subprocess.run(
        [*map(str, command), '--budgets', '0.001', '20000'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    records = {(r['policy'], r['budget_ms']): r for r in json.loads(out.read_text())}
    assert len(records) == 8
    count = len(list(PICTURES.glob('*.jpg')))
    assert {r['frames'] for r in records.values()} == {count}
    ample, plain = records['adaptive', 20000.0], records['full network', 20000.0]
    assert ample['in_time'] == plain['in_time'] == 1
    assert ample['accuracy'] == plain['accuracy'] > 0.5
    accuracies = load(ROOT / 'models' / 'clothing10.safetensors').accuracies
    assert ample['paths'] == {f'exit {1 + accuracies.index(max(accuracies))} of 5': count}
    assert records['best one path', 20000.0]['accuracy'] >= plain['accuracy']
    tiny = records['adaptive', 0.001]
    assert tiny['infeasible'] == 1
    assert tiny['accuracy'] == tiny['in_time'] == 0
    assert 'right and in time' in done.stdout
