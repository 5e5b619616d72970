"""training.model.steps: heads that share the final layer learn what the network itself gives to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from impatient_ros.network import ImpatientNetwork
from training.model.frozen_features import FrozenFeatures
from training.model.resolutions import at_sides
from training.model.steps import final_features, joint_step, sharing_exits
from training.risk.objective import JointRisk

pytestmark = pytest.mark.usefixtures('one_thread')
X = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def network(kind: str) -> ImpatientNetwork:
    torch.manual_seed(0)
    return ImpatientNetwork.from_torchvision(
        'shufflenet_v2_x0_5', exits=3, classes=4, image_size=128, head_kind=kind, head_share=0.3
    ).eval()


def test_the_features_seen_are_those_of_each_exit_and_of_the_network_itself() -> None:
    net, x = network('shared'), torch.randn(2, 3, 128, 128)
    assert sharing_exits(net) == (0, 1, 2)
    with torch.no_grad(), final_features(net, sharing_exits(net)) as seen:
        scores = net(x)
    final = net.exits[0].classify
    assert len({id(h) for h in seen.values()}) == 3
    for t, features in seen.items():
        assert torch.equal(functional.linear(features, final.weight, final.bias), scores[t])
    assert not final._forward_pre_hooks, 'nothing stays behind'


@pytest.mark.parametrize('equilibrium', [None, [0.3, 0.3, 0.4]])
def test_paths_of_all_resolutions_learn_the_features_of_the_full_one(equilibrium: list[float] | None) -> None:
    net = network('shared')
    sides = (96, 128)
    networks = at_sides(net, sides)
    x = torch.randn(2, 3, 128, 128)

    def losses(weight: float) -> torch.Tensor:
        risk = JointRisk([1 / 6] * 6, temperature=1.0, feature_weight=weight)
        random = np.random.default_rng(0)
        return joint_step(networks, sides, risk, x, None, random, equilibrium=equilibrium)[1]

    with torch.no_grad():
        more = losses(1.0) - losses(0.0)
    assert more[-1] == 0
    assert (more[:-1] > 0).all(), 'the last exit at the smaller resolution learns, too'


def test_exits_with_layers_of_their_own_have_nothing_to_compare() -> None:
    net = network('own')
    assert sharing_exits(net) == ()
    risk = JointRisk([1 / 3] * 3, feature_weight=1.0)
    with torch.no_grad():
        risk_with, _ = joint_step([net], (128,), risk, X, None, np.random.default_rng(0))
        plain = JointRisk([1 / 3] * 3)
        without, _ = joint_step([net], (128,), plain, X, None, np.random.default_rng(0))
    assert risk_with == without


def test_features_from_the_runtime_are_compared_as_those_of_torch_are() -> None:
    net = network('shared')
    risk = JointRisk([1 / 3] * 3, feature_weight=1.0)

    def losses(features_of: FrozenFeatures | None) -> torch.Tensor:
        random = np.random.default_rng(0)
        return joint_step([net], (128,), risk, X, None, random, features_of=features_of)[1]

    torch.testing.assert_close(losses(FrozenFeatures(net)), losses(None), rtol=1e-3, atol=1e-3)
