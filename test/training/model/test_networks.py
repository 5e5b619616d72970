"""training.model.networks: the network of an option, and what it starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from training.model.networks import NetworkOptions, build, carry_over, memory_layout, module_of, trusted
from training.model.small_backbones import SmallResNet

OWN = {
    'module': 'training.model.small_backbones.SmallResNet',
    'module_options': {'widths': [4, 8], 'blocks': 1},
}
SIZE: dict[str, Any] = {'classes': 3, 'image_size': (32, 32)}


def test_torchvisions_classifiers_and_own_modules_become_networks() -> None:
    shuffle = build(NetworkOptions('shufflenet_v2_x0_5', exits=2), classes=4, image_size=(32, 32))
    own = build(NetworkOptions(**OWN, exits=2), classes=4, image_size=(32, 32))
    for network in (shuffle, own):
        assert [tuple(z.shape) for z in network.eval()(torch.zeros(1, 3, 32, 32))] == [(1, 4)] * 2


def test_a_classifier_of_another_family_becomes_a_network() -> None:
    pytest.importorskip('timm')
    options = NetworkOptions('mobilenetv3_small_050', family='timm', exits=2)
    network = build(options, classes=4, image_size=(64, 64))
    assert network.config['backbone']['source'] == 'timm'
    assert network.classes == 4
    with pytest.raises(ValueError, match=r'no family of classifiers .theirs. is installed'):
        build(NetworkOptions('net', family='theirs'), classes=4, image_size=(64, 64))


def test_an_own_module_gets_the_number_of_classes_unless_it_is_given() -> None:
    assert module_of('training.model.small_backbones.SmallResNet', {}, 7).classify.out_features == 7  # type: ignore[union-attr]
    given = module_of('training.model.small_backbones.SmallResNet', {'classes': 3}, 7)
    assert given.classify.out_features == 3  # type: ignore[union-attr]


def test_a_backbones_weights_are_those_of_the_file(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = SmallResNet(4, (4, 8), 1)
    torch.save({'state_dict': module.state_dict()}, tmp_path / 'own.pth')
    options = NetworkOptions(**OWN, exits=2, weights=str(tmp_path / 'own.pth'))
    network = build(options, classes=4, image_size=(32, 32))
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(network.eval()(x)[-1], module.eval()(x))


def test_a_start_for_other_classes_keeps_all_but_the_last_layers(tmp_path: Path) -> None:
    before = build(NetworkOptions(**OWN, exits=2), classes=10, image_size=(32, 32))
    torch.save(before.state_dict(), tmp_path / 'before.pth')
    after = build(
        NetworkOptions(**OWN, exits=2, start=str(tmp_path / 'before.pth')), classes=4, image_size=(32, 32)
    )
    fresh = carry_over(after, before.state_dict(), 'before')
    assert {name.rpartition('.')[0].rpartition('.')[2] for name in fresh} == {'classify'}
    stem = after.state_dict()['stages.0.stem.weight']
    assert torch.equal(stem, before.state_dict()['stages.0.stem.weight'])


@pytest.mark.parametrize('exits', [1, 2])
def test_a_start_that_was_cut_elsewhere_keeps_the_whole_classifier(exits: int) -> None:
    before = build(NetworkOptions(**OWN, exits=3), classes=10, image_size=(32, 32))
    after = build(NetworkOptions(**OWN, exits=exits), classes=10, image_size=(32, 32))
    fresh = carry_over(after, before.state_dict(), 'before')
    heads = {f'exits.{t}.' for t in range(exits - 1)}
    assert all(name.startswith(tuple(heads)) for name in fresh)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(after.eval()(x)[-1], before.eval()(x)[-1])


def test_a_start_is_carried_over_wherever_it_is_cut(tmp_path: Path) -> None:
    before = build(NetworkOptions(**OWN, exits=2, private=['affine'], resolutions=[24, 32]), **SIZE)
    with torch.no_grad():
        for parameter in before.parameters():
            parameter.add_(0.1)
    torch.save(before.state_dict(), tmp_path / 'before.pth')
    after = build(
        NetworkOptions(
            **OWN, exits=3, private=['affine'], resolutions=[24, 32], start=str(tmp_path / 'before.pth')
        ),
        **SIZE,
        whole=True,
    )
    assert after.config['cuts'] != before.config['cuts']
    x, small = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 24, 24)
    assert torch.equal(after.eval()(x)[-1], before.eval()(x)[-1])
    assert torch.equal(after.at(24)(small)[-1], before.at(24)(small)[-1])


def test_where_the_whole_classifier_has_to_be_carried_over_another_one_is_refused(tmp_path: Path) -> None:
    before = build(NetworkOptions(**OWN, exits=2), classes=10, image_size=(32, 32))
    torch.save(before.state_dict(), tmp_path / 'before.pth')
    options = NetworkOptions(**OWN, exits=2, start=str(tmp_path / 'before.pth'))
    with pytest.raises(ValueError, match=r'is of another network: it has no exits\.1'):
        build(options, **SIZE, whole=True)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({}, 'write either backbone'),
        ({'backbone': 'resnet18', **OWN}, 'write either backbone'),
        ({**OWN, 'exits': 0}, 'at least 1'),
        ({**OWN, 'exits': 90}, '90 exits do not fit'),
        ({**OWN, 'cuts': ['nowhere']}, 'nowhere'),
        ({'module': 'Net'}, 'cannot be imported'),
        ({'module': 'training.model.small_backbones.BigResNet'}, 'cannot be imported'),
        ({'module': 'training.model.networks.read_state'}, 'cannot be built'),
        (
            {
                'module': 'training.risk.methods.chosen_exits',
                'module_options': {'method': 'last', 'exits': 1},
            },
            'nn.Module',
        ),
        ({**OWN, 'exits': 2, 'start': 'nowhere.pth'}, 'no file nowhere.pth'),
    ],
)
def test_what_makes_no_network_is_said(options: dict, message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        build(NetworkOptions(**options), classes=3, image_size=(32, 32))


def test_a_start_of_another_build_is_refused() -> None:
    network = build(NetworkOptions(**OWN, exits=2), classes=3, image_size=(32, 32))
    with pytest.raises(ValueError, match='nothing in it fits'):
        carry_over(network, {'other': torch.zeros(1)}, 'x.pth')


@pytest.mark.parametrize('own', [{'private_sides': [20], 'resolutions': [24, 32]}, {}])
def test_private_tensors_are_for_resolutions_that_there_are(own: dict) -> None:
    options = NetworkOptions(**OWN, exits=2, private=['affine'], **own)
    with pytest.raises(ValueError, match=r'write model\.network\.resolutions'):
        build(options, classes=3, image_size=(32, 32))


def test_only_modules_of_this_project_and_of_torchvision_are_trusted() -> None:
    assert trusted('training.model.small_backbones.SmallResNet')
    assert trusted('torchvision.models.resnet.ResNet')
    assert not trusted('os.system')
    assert not trusted('')


def test_channels_last_but_where_torch_would_crash() -> None:
    narrow = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 8, 1, stride=2)))
    assert memory_layout(narrow) is torch.contiguous_format
    for fine in (nn.Conv2d(8, 8, 1, stride=2), nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(4, 8, 1)):
        assert memory_layout(nn.Sequential(fine)) is torch.channels_last
