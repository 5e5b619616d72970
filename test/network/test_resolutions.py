"""One network at several sizes: shared parameters, and what the uncut classifier computes at each size."""

import copy

import pytest
import torch
from checkpoint_files import randomised, shared_network
from torch import nn

from impatient_ros.network import ImpatientNetwork
from impatient_ros.network.heads import Head, HeadSpec

SIZE = 64


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = ImpatientNetwork.from_torchvision('mobilenet_v3_small', exits=3, classes=4, image_size=SIZE)
    return randomised(made, SIZE)


def test_it_shares_every_parameter_and_buffer_under_the_same_name(network):
    other = network.at(48)
    assert other.input_shape == (3, 48, 48)
    for kind in ('named_parameters', 'named_buffers'):
        ours, theirs = dict(getattr(network, kind)()), dict(getattr(other, kind)())
        assert list(ours) == list(theirs)
        assert all(ours[name] is theirs[name] for name in ours)


def test_at_its_own_size_it_is_itself(network):
    assert network.at(SIZE) is network
    again = network.at(48).at(SIZE)
    assert again.config == network.config
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        for a, b in zip(again(x), network(x), strict=True):
            torch.testing.assert_close(a, b)


def test_it_costs_what_the_network_would_that_is_built_for_that_size(network):
    built = ImpatientNetwork.from_torchvision(
        'mobilenet_v3_small', exits=3, classes=4, image_size=48, cuts=network.config['cuts'][:-1]
    )
    assert network.at(48).stage_macs == built.stage_macs
    assert network.at(48).exit_macs[-1] == built.exit_macs[-1]
    assert network.at(48).costs()[-1] < network.costs()[-1]


def test_a_step_at_one_size_moves_the_network_at_all(network):
    network.train()
    other = network.at(48)
    assert all(each.training for each in other.modules())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    before = [each.detach().clone() for each in other.parameters()]
    sum(each.square().mean() for each in other(torch.randn(2, 3, 48, 48))).backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_copy_has_resolutions_of_its_own(network):
    twin = copy.deepcopy(network)
    with torch.no_grad():
        for each in network.parameters():
            each.zero_()
    x = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        assert twin.at(48)(x)[-1].abs().max() > 0
    assert next(twin.at(48).parameters()) is next(twin.parameters())


def test_weights_that_were_put_in_later_count_at_every_size():
    """A parameter that a stage holds itself, not one of its layers, is replaced there by whoever loads."""
    network = shared_network().eval()
    for stage in network.stages:
        stage._parameters['scale'] = nn.Parameter(torch.tensor(7.0))
    other = network.at(24)
    assert all(each.scale is mine.scale for each, mine in zip(other.stages, network.stages, strict=True))
    x = torch.randn(1, 3, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(other.stages[0](x), network.stages[0](x))


@pytest.mark.parametrize('side', [0, -3, 2.5, '48', True])
def test_a_side_is_a_whole_number_of_pixels(network, side):
    with pytest.raises(ValueError, match='write a whole number of pixels'):
        network.at(side)


@pytest.mark.parametrize(
    ('family', 'name', 'message'),
    [
        ('torchvision', 'vit_b_32', 'no resolution of 32 px: .*Expected 64 but got 32'),
        ('timm', 'vit_tiny_patch16_224', r'no resolution of 32 px: .*Input height \(32\)'),
    ],
)
def test_a_network_of_one_size_says_why(family, name, message):
    if family == 'timm':
        pytest.importorskip('timm')
    network = ImpatientNetwork.from_family(family, name, 2, 4, image_size=SIZE)
    with pytest.raises(ValueError, match=message):
        network.at(32)


def test_a_network_for_images_that_are_no_squares_has_one_size():
    network = ImpatientNetwork.from_torchvision('squeezenet1_1', exits=2, classes=4, image_size=(64, 96))
    with pytest.raises(ValueError, match='takes images of 64x96: only squares'):
        network.at(48)


# --- heads


def spec(**values):
    default = {
        'layout': 'NCHW', 'channels': 8, 'grid': (28, 28), 'prefix': 0, 'classes': 4, 'pool': (2, 2),
        'stride': (2, 2), 'width': 16, 'depth': 2,
    }  # fmt: skip
    return HeadSpec(**(default | values))


@pytest.mark.parametrize(
    ('values', 'side', 'pool'),
    [
        ({}, 12, (2, 2)),  # averages as finely as before
        ({}, 3, (1, 1)),  # but leaves neighbours to its convolutions
        ({'pool': (28, 28), 'stride': (1, 1), 'depth': 0}, 12, (12, 12)),  # all stays all
        ({'pool': (28, 28), 'stride': (1, 1), 'depth': 0}, 40, (40, 40)),
        ({'depth': 0, 'stride': (1, 1)}, 1, (1, 1)),
    ],
)
def test_a_head_averages_at_another_size_as_it_did(values, side, pool):
    own = spec(**values)
    other = own.at((8, side, side), (100, 100))
    assert (other.grid, other.pool, other.stride) == ((side, side), pool, own.stride)
    assert other.kernel == own.kernel or own.depth == 0
    head = Head(own).eval()
    twin = head.at(other)
    assert all(a is b for a, b in zip(head.parameters(), twin.parameters(), strict=True))
    assert head.spec == own
    assert twin(torch.randn(2, 8, side, side)).shape == (2, 4)


def test_a_head_that_mixes_neighbours_needs_some():
    with pytest.raises(ValueError, match='one pixel wide, the head there mixes neighbours'):
        spec().at((8, 1, 1), (32, 32))
    with pytest.raises(ValueError, match='another width'):
        spec().at((9, 12, 12), (100, 100))
