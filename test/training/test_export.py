import json

import numpy as np
import pytest
import torch

from impatient_ros.checkpoint import load
from impatient_ros.resources import resource_path
from training.export import main

MODEL = resource_path('models', 'clothing10.safetensors')


def test_exported_files_chain_to_the_scores_of_every_exit(tmp_path, capsys):
    onnxruntime = pytest.importorskip('onnxruntime', reason='needs onnxruntime')
    assert main([str(MODEL), '--output', str(tmp_path / 'parts')]) == 0
    assert 'path_4.onnx' in capsys.readouterr().out
    network = load(MODEL).network
    image = np.random.default_rng(0).normal(size=(1, *network.input_shape)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image))

    def run(name, value):
        session = onnxruntime.InferenceSession(
            str(tmp_path / 'parts' / f'{name}.onnx'), providers=['CPUExecutionProvider']
        )
        [found] = session.run(None, {session.get_inputs()[0].name: value})
        return found

    features = image
    for t, wanted in enumerate(expected):
        features = run(f'stage_{t}', features)
        assert np.allclose(run(f'exit_{t}', features), wanted, atol=1e-4)
    assert np.allclose(run('path_1', image), expected[1], atol=1e-4)
    described = json.loads((tmp_path / 'parts' / 'network.json').read_text())
    assert described['input'] == {'name': 'image', 'shape': [1, 3, 128, 128]}
    assert len(described['labels']) == 10


def test_what_is_no_checkpoint_is_refused(tmp_path, capsys):
    (tmp_path / 'x').write_text('no')
    assert main([str(tmp_path / 'x'), '--output', str(tmp_path / 'parts')]) == 2
    assert 'export:' in capsys.readouterr().err
    assert not (tmp_path / 'parts').exists()
