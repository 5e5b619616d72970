"""The table of families: our own, installed ones, and what is said of those that are missing."""

import json
import sys
import types
from importlib.metadata import EntryPoint

import pytest
import torch
from torch import nn

from impatient_ros.network import ImpatientNetwork, UnknownFamilyError, families
from impatient_ros.network.__main__ import main


class Plain(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x):
        return self.classifier(self.second(self.first(x).relu()).relu().mean((2, 3)))


class Ours(families.Family):
    name = 'ours'

    def classifiers(self):
        return ['plain']

    def create(self, name, *, classes, image_size, options):
        if min(image_size) < 8:
            raise ValueError('it takes images of at least 8 pixels')
        return Plain(classes, **options)


@pytest.fixture
def installed(monkeypatch):
    """Makes names of a module `our_backbones` entry points; without arguments our own family is there."""
    module = types.ModuleType('our_backbones')
    module.FAMILY, module.NUMBER = Ours(), 7
    monkeypatch.setitem(sys.modules, 'our_backbones', module)

    def install(**entries):
        found = [EntryPoint(name, value, families.GROUP) for name, value in entries.items()]
        monkeypatch.setattr(families, 'entry_points', lambda group: found if group == families.GROUP else [])

    install(ours='our_backbones:FAMILY')
    return install


def test_an_installed_family_builds_networks_that_their_config_rebuilds(installed):
    assert families.names() == ['torchvision', 'timm', 'ours']
    network = ImpatientNetwork.from_family('ours', 'plain', exits=2, classes=5, image_size=16, width=4).eval()
    assert network.config['backbone'] == {'source': 'ours', 'name': 'plain', 'options': {'width': 4}}
    twin = ImpatientNetwork.from_config(json.loads(json.dumps(network.config))).eval()
    twin.load_state_dict(network.state_dict())
    x = torch.randn(2, 3, 16, 16)
    assert [each.shape for each in network(x)] == [(2, 5), (2, 5)]
    assert all(torch.equal(a, b) for a, b in zip(network(x), twin(x), strict=True))
    empty = ImpatientNetwork.from_config(network.config, empty=True)
    assert all(each.is_meta for each in empty.parameters())


def test_an_installed_familys_weights_come_from_a_file(installed, tmp_path):
    module = Plain(7, 4)
    torch.save(module.state_dict(), tmp_path / 'ours.pth')
    network = ImpatientNetwork.from_family(
        'ours', 'plain', exits=1, weights=tmp_path / 'ours.pth', image_size=16, width=4
    )
    assert network.classes == 7
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(network(x)[-1], module(x))
    with pytest.raises(ValueError, match=r'ours has no weights .DEFAULT. for plain: write a path'):
        ImpatientNetwork.from_family('ours', 'plain', weights='DEFAULT', image_size=16, width=4)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'name': 'plane'}, 'ours has no classifier .plane.; did you mean plain'),
        ({'image_size': 4}, 'ours does not build plain for images of 4x4 .*at least 8 pixels'),
        ({'depth': 3}, 'ours does not build plain .*depth'),
    ],
)
def test_what_an_installed_family_does_not_build_is_said(installed, options, message):
    with pytest.raises(ValueError, match=message) as told:
        ImpatientNetwork.from_family(
            'ours', **({'name': 'plain', 'exits': 2, 'image_size': 16, 'width': 4} | options)
        )
    assert not isinstance(told.value, UnknownFamilyError)


def test_a_family_that_is_not_installed_is_said_to_be_so():
    config = ImpatientNetwork.from_torchvision('alexnet', exits=1, classes=2).config
    config['backbone']['source'] = 'theirs'
    with pytest.raises(UnknownFamilyError, match=r'.theirs. is installed.* impatient_ros\.backbones'):
        ImpatientNetwork.from_config(config)
    with pytest.raises(UnknownFamilyError, match='did you mean torchvision'):
        families.find('torchvison')


def test_a_family_that_cannot_be_imported_or_is_none_is_said_to_be_so(installed):
    installed(
        gone='our_backbones.gone:FAMILY', nothing='our_backbones:NOTHING', number='our_backbones:NUMBER'
    )
    with pytest.raises(UnknownFamilyError, match=r'gone.*cannot be imported') as told:
        families.find('gone')
    assert isinstance(told.value.__cause__, ImportError)
    with pytest.raises(UnknownFamilyError, match=r'nothing.*cannot be imported'):
        families.find('nothing')
    with pytest.raises(UnknownFamilyError, match=r'number.* is a int: it must be an object'):
        families.find('number')


def test_our_own_families_cannot_be_replaced(installed):
    installed(torchvision='our_backbones:FAMILY')
    assert families.find('torchvision').name == 'torchvision'


def test_the_command_line_lists_cut_points_of_any_family(capsys):
    command = ['mobilenetv3_small_050', '--family', 'timm', '--image-size', '64', '--exits', '3']
    assert main(command) == 0
    assert 'exit 1 of 3' in capsys.readouterr().out
    assert main(['plain', '--family', 'theirs']) == 2
    assert 'theirs' in capsys.readouterr().err
