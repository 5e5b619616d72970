"""What a resolution has for itself: only it computes with that, and only it moves it."""

import copy

import pytest
import torch
from checkpoint_files import randomised

from impatient_ros.network import ImpatientNetwork
from impatient_ros.network.private_tensors import tensors_of

SIZE, SMALL, SMALLEST = 64, 56, 48


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = ImpatientNetwork.from_torchvision('mobilenet_v3_small', exits=3, classes=4, image_size=SIZE)
    return randomised(made, SIZE).eval()


@torch.no_grad()
def answers(network):
    sides = (SMALLEST, SMALL, SIZE)
    images = (torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side)) for side in sides)
    return [torch.stack(network.at(side)(x)) for side, x in zip(sides, images, strict=True)]


def test_they_begin_as_copies(network):
    before = answers(network)
    network.make_private([SMALLEST, SMALL], ['affine', 'statistics', 'depthwise'])
    for ours, theirs in zip(answers(network), before, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize('kind', ['affine', 'statistics', 'depthwise'])
def test_a_change_concerns_its_resolution_alone(network, kind):
    network.make_private([SMALLEST, SMALL], [kind])
    before = answers(network)
    with torch.no_grad():
        for tensor in network.private[str(SMALL)].state_dict().values():
            tensor.mul_(1.5)
    smallest, small, full = (
        torch.equal(ours, theirs) for ours, theirs in zip(answers(network), before, strict=True)
    )
    assert (smallest, small, full) == (True, False, True)


def test_a_step_at_a_resolution_moves_what_is_its_own_and_what_all_share(network):
    network.make_private([SMALLEST, SMALL], ['affine', 'statistics'])
    before = copy.deepcopy(network.state_dict())
    twin = network.at(SMALL).train()
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    sum(each.square().mean() for each in twin(torch.randn(4, 3, SMALL, SMALL))).backward()
    optimiser.step()
    shared = {name for name in before if name in tensors_of(network, ['affine', 'statistics'])}
    assert shared
    for name, tensor in network.state_dict().items():
        moves = name.startswith(f'private.{SMALL}.') or not (name.startswith('private.') or name in shared)
        if not name.endswith('num_batches_tracked'):
            assert torch.equal(tensor, before[name]) != moves, name


def test_the_network_keeps_its_own_layers(network):
    layers = {id(each) for each in network.modules()}
    network.make_private([SMALL], ['affine'])
    own = {id(each) for each in network.private.modules()}
    network.at(SMALL)
    assert {id(each) for each in network.modules()} - own == layers


def test_a_config_builds_them_anew(network):
    network.make_private([SMALL], ['depthwise', 'affine'])
    again = ImpatientNetwork.from_config(network.config)
    again.load_state_dict(network.state_dict())
    for ours, theirs in zip(answers(again.eval()), answers(network), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ('sides', 'kinds', 'why'),
    [
        ([48], ['biases'], "'biases': write some of affine, statistics, depthwise"),
        ([48, 32], ['affine'], r'\[48, 32\] px: write sides that ascend, below 64'),
        ([64], ['affine'], 'below 64'),
        ([], ['affine'], 'write sides'),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(network, sides, kinds, why):
    with pytest.raises(ValueError, match=why):
        network.make_private(sides, kinds)
    assert 'private' not in network.config
    network.make_private([48], ['affine'])
    with pytest.raises(ValueError, match='already'):
        network.make_private([32], ['affine'])
