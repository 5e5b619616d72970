"""training.model.frozen_features: the same scores, whoever computes what the heads learn from."""

from __future__ import annotations

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


def test_scores_are_the_networks_own_and_only_heads_get_gradients(network: ImpatientNetwork) -> None:
    features_of, x = FrozenFeatures(network), torch.randn(5, 3, SIDE, SIDE)
    assert features_of.by == 'openvino in f32'
    features = features_of(x)
    found = scores_from(network, features)
    assert len(features) == 2
    for one, other in zip(found, network(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    assert not any(each.requires_grad for each in features)
    sum(each.sum() for each in found[:-1]).backward()
    assert all(p.grad is not None for p in network.exits[0].parameters())
    assert all(p.grad is None for p in network.stages.parameters())
    network.zero_grad()
    kept = features[0].clone()
    features_of(x + 1)
    assert torch.equal(features[0], kept), 'they are not overwritten'


@pytest.mark.parametrize(
    ('asked', 'able', 'made'),
    [(True, ('f32', 'bf16'), 'bf16'), (True, ('f32',), 'f32'), (False, ('f32', 'bf16'), 'f32')],
)
def test_bfloat16_is_taken_where_it_is_asked_for_and_native(
    network: ImpatientNetwork,
    asked: bool,
    able: tuple[str, ...],
    made: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = []

    def select(*_: object, precision: str, **__: object) -> None:
        chosen.append(precision)
        raise RuntimeUnavailableError('enough seen')

    monkeypatch.setattr(frozen_features, 'native', lambda device: able)
    monkeypatch.setattr(frozen_features, 'select_runtime', select)
    assert FrozenFeatures(network, bf16=asked).by == 'torch (enough seen)'
    assert chosen == [made]


def test_torch_computes_where_there_is_no_runtime_and_at_other_sizes(
    network: ImpatientNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(2, 3, SIDE + 32, SIDE + 32)
    with torch.no_grad():
        wanted = network.stages[0](x)
    assert torch.equal(FrozenFeatures(network)(x)[0], wanted)

    def none(*_: object, **__: object) -> None:
        raise RuntimeUnavailableError('OpenVINO is not installed')

    monkeypatch.setattr(frozen_features, 'select_runtime', none)
    features_of = FrozenFeatures(network)
    assert features_of.by == 'torch (OpenVINO is not installed)'
    x = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        assert torch.equal(features_of(x)[0], network.stages[0](x))
