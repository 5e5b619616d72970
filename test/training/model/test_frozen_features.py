"""training.model.frozen_features: the same scores, whoever computes what the heads learn from."""

from __future__ import annotations

import logging

import pytest
import torch
from checkpoint_files import randomised

from impatient_ros.network import ImpatientNetwork
from impatient_ros.runtime import RuntimeUnavailableError
from training.model import frozen_features
from training.model.frozen_features import FrozenFeatures, scores_from

pytestmark = pytest.mark.usefixtures('one_thread')
SIDE = 64


@pytest.fixture(scope='module')
def network() -> ImpatientNetwork:
    torch.manual_seed(0)
    made = ImpatientNetwork.from_torchvision('shufflenet_v2_x0_5', exits=3, classes=4, image_size=SIDE)
    return randomised(made, SIDE)


@pytest.mark.parametrize(('faster', 'said'), [('runtime', 'openvino in f32 is'), ('torch', 'is 0.')])
def test_scores_are_the_networks_own_and_only_heads_get_gradients(
    network: ImpatientNetwork,
    faster: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(frozen_features, 'native', lambda device: ('f32',))
    now = iter([0.0, 10.0, 0.0, 1.0] if faster == 'runtime' else [0.0, 1.0, 0.0, 10.0])
    monkeypatch.setattr(frozen_features.time, 'perf_counter', lambda: next(now))
    features_of, x = FrozenFeatures(network), torch.randn(5, 3, SIDE, SIDE)
    with caplog.at_level(logging.INFO, logger='training'):
        features = features_of(x)
    assert said in caplog.text
    assert len(features) == 2
    wanted = network(x)
    found = scores_from(network, features)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    assert not any(each.requires_grad for each in features)
    sum(each.sum() for each in found[:-1]).backward()
    assert all(p.grad is not None for p in network.exits[0].parameters())
    assert all(p.grad is None for p in network.stages.parameters())
    network.zero_grad()
    assert torch.equal(features_of(x[:2])[0], features[0][:2]), 'the way is chosen once'


def test_torch_computes_where_there_is_no_runtime_and_at_other_sizes(
    network: ImpatientNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    x = torch.randn(2, 3, SIDE + 32, SIDE + 32)
    with torch.no_grad():
        wanted = network.stages[0](x)
    assert torch.equal(FrozenFeatures(network)(x)[0], wanted)

    def none(network: ImpatientNetwork) -> None:
        raise RuntimeUnavailableError('OpenVINO is not installed')

    monkeypatch.setattr(frozen_features, '_runtime', none)
    with caplog.at_level(logging.INFO, logger='training'):
        assert torch.equal(FrozenFeatures(network)(x)[0], wanted)
    assert 'come from torch (OpenVINO is not installed)' in caplog.text
