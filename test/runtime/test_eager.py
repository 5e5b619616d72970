import numpy as np
import pytest
import torch
from runtime.staged import expected, image, network

from impatient_ros.network import ImpatientNetwork
from impatient_ros.runtime.eager import EagerRuntime


def test_a_run_is_at_the_resolution_of_its_image(monkeypatch):
    of = network(size=64)
    smaller = ImpatientNetwork.from_config({**of.config, 'input_shape': [3, 32, 32]}).eval()
    smaller.load_state_dict(of.state_dict())
    monkeypatch.setattr(ImpatientNetwork, 'at', lambda self, side: {32: smaller}[side], raising=False)
    runtime = EagerRuntime(of, torch.device('cpu'), sides=(32, 64))
    assert runtime.sides == (32, 64)
    for each in (of, smaller, of):
        picture = image(each)
        run = runtime.start(picture)
        for wanted in expected(each, picture):
            run.stage()
            assert np.allclose(run.exit(), wanted, atol=1e-4)
    with pytest.raises(ValueError, match='image of 48 px: eager executes 32, 64 px'):
        runtime.start(np.zeros((1, 3, 48, 48), np.float32))
    assert EagerRuntime(of, torch.device('cpu')).sides == (64,)
