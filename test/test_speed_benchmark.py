"""test/benchmark/speed.py: what its processes and rows are made from, for real and small."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from benchmark import models, stages
from benchmark.models import picture, source, with_int8
from benchmark.peer import path_graphs
from benchmark.turns import Peer

from impatient_ros.runtime import RuntimeUnavailableError, select_runtime

NAME = 'clothing10'  # ships, and is small
STARTUP = Path(__file__).with_name('benchmark') / 'startup.py'


@pytest.mark.parametrize('kind', ['ours', 'plain'])
def test_a_start_is_timed_and_its_memory_is_that_of_a_process_that_still_has_the_network(kind, tmp_path):
    model = Path(models.__file__).parents[2] / 'models' / models.SHIPPED[NAME]
    command = [sys.executable, str(STARTUP), kind, str(model) if kind == 'ours' else NAME]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert 0.1 < found['seconds'] < 600
    assert found['mib'] > 50


@pytest.mark.parametrize('kind', ['openvino', 'onnxruntime'])
def test_a_plain_network_takes_its_turns(kind):
    if find_spec(kind) is None:
        pytest.skip(f'needs {kind}')
    peer = Peer(kind, NAME, 'cpu', '1', *(['f32'] if kind == 'openvino' else []))
    try:
        peer.wait()
        assert len(peer.turn('plain', 3)) == 3
    finally:
        peer.close()


@pytest.mark.skipif(find_spec('nncf') is None, reason='needs NNCF')
@pytest.mark.filterwarnings('ignore')  # NNCF's own
def test_int8_is_the_same_network_and_its_paths_are_what_the_peer_gets(tmp_path):
    of = with_int8(source(NAME))
    image = picture(of.graph.input_shape)
    scores = {}
    for precision in ('f32', 'int8'):
        run = select_runtime(of, 'openvino', 'cpu', threads=1, precision=precision).start(image)
        while run.position < of.graph.exits:
            run.stage(of.graph.exits - 1)
        scores[precision] = run.exit()
    difference = np.abs(scores['int8'] - scores['f32']).max()
    assert 0 < difference < np.abs(scores['f32']).max()
    for number, graph in enumerate(path_graphs(of.quantised)):
        (tmp_path / f'{number}.onnx').write_bytes(graph)
    assert number == of.graph.exits - 1
    peer = Peer('openvino', NAME, 'cpu', '1', 'int8', str(tmp_path))
    try:
        peer.wait()
        assert len(peer.turn('0', 2)) == 2
    finally:
        peer.close()


def test_every_precision_that_the_processor_computes_is_measured_and_eager_where_there_is_no_runtime(
    monkeypatch,
):
    monkeypatch.setattr(stages, 'native', lambda device: ('f32', 'bf16', 'int8'))
    assert stages.ways_on('cpu')[2:] == (('openvino', 'bf16'), ('openvino', 'int8'))

    def none(device):
        raise RuntimeUnavailableError('not installed')

    monkeypatch.setattr(stages, 'native', none)
    assert stages.ways_on('cpu') == stages.WAYS['cpu']
