"""Accuracies of exits at all cut points, estimated by small heads."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from impatient_ros.network import ImpatientNetwork
from training.data.augmentation import Augmentation
from training.data.data_module import PictureData
from training.model.networks import NetworkOptions, build
from training.placement import estimate
from training.placement.estimate import estimated

pytestmark = pytest.mark.usefixtures('one_thread')
CPU = torch.device('cpu')


@pytest.fixture
def data(shapes: Path) -> PictureData:
    gentle = Augmentation(area=(0.7, 1.0), rotation=0.0, colour=0.0, erase=0.0, mix=0.0)
    return PictureData(str(shapes), size=32, resize=32, augmentation=gentle)


def network(head_kind: str = 'own', classes: int = 3) -> ImpatientNetwork:
    torch.manual_seed(0)
    options = NetworkOptions(
        module='training.model.small_backbones.SmallResNet',
        module_options={'widths': [8, 16]},
        cuts=['relu', 'blocks.1'],
        exits=3,
        head_share=0.5,
        head_kind=head_kind,
    )
    return build(options, classes=classes, image_size=(32, 32))


def test_heads_learn_and_are_scored_on_other_pictures(folder: Path) -> None:
    gentle = Augmentation(colour=0.0, erase=0.0, mix=0.0)
    coloured = PictureData(str(folder), size=32, resize=32, augmentation=gentle)
    made = network(classes=2)
    found = estimated(made, [list(made.exits[:-1])] * 2, coloured, frozen=False, device=CPU)
    assert (found.learned, found.held_out, found.views) == (9, 3, 30 * 9)
    assert found.heads == ((1.0, 1.0), (1.0, 1.0))
    assert found.last == 1.0


def test_a_head_says_nothing_of_another(data: PictureData, monkeypatch: pytest.MonkeyPatch) -> None:
    """No gradient goes from a head into the backbone: it learns as it would without."""
    monkeypatch.setattr(estimate, 'MOST_EPOCHS', 2)
    monkeypatch.setattr(estimate, 'CLIP', 1e9)  # the one thing that all parameters have in common
    stages = []
    for copies in (1, 3):
        made = network()
        heads = [[copy.deepcopy(head) for head in made.exits[:-1]] for _ in range(copies)]
        estimated(made, heads, data, frozen=False, device=CPU)
        stages.append(made.stages.state_dict())
    for name, value in stages[0].items():
        assert torch.allclose(value, stages[1][name], atol=1e-5), name


@pytest.mark.parametrize('head_kind', ['own', 'shared'])
def test_a_given_backbone_stays_and_without_labels_its_classifier_too(
    data: PictureData, monkeypatch: pytest.MonkeyPatch, head_kind: str
) -> None:
    monkeypatch.setattr(estimate, 'MOST_EPOCHS', 2)
    made = network(head_kind)
    before = copy.deepcopy(made.state_dict())
    data.setup()
    data.labels_from = 'a checkpoint'  # from here on labels are not looked at
    data.pictures.targets[:] = 0
    found = estimated(made, [list(made.exits[:-1])], data, frozen=True, device=CPU)
    assert found.last == 1.0  # agreement with itself
    after = made.state_dict()
    for name, value in before.items():
        shared = head_kind == 'shared' and '.classify.' in name
        if name.startswith(('stages.', 'exits.2.')) or shared:
            assert torch.equal(value, after[name]), name
    assert any(not torch.equal(value, after[name]) for name, value in before.items() if 'exits.0.mix' in name)
