"""When exits are placed by budgets, and what is kept of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from training.data.augmentation import Augmentation
from training.data.data_module import PictureData
from training.data.labelled_pictures import DataError
from training.model.networks import NetworkOptions, build
from training.model.saving import STATE
from training.placement import choice, estimate, kept
from training.placement.kept import FILE, placed
from training.placement.placement import Placement, wanted
from training.risk import costs
from training.risk.options import RiskOptions

SMALL = NetworkOptions(
    module='training.model.small_backbones.SmallResNet', module_options={'widths': [4, 8]}, exits=3
)
EARLY = RiskOptions(budgets='early')
CPU = torch.device('cpu')


@pytest.mark.parametrize(
    ('network', 'risk', 'expected'),
    [
        ({}, {}, True),
        ({}, {'method': 'distil'}, True),
        ({}, {'costs': 'measured'}, True),
        ({'start': 'a.safetensors'}, {}, True),
        ({'cuts': 'budgets'}, {'budgets': 'uniform'}, True),
        ({'cuts': 'budgets'}, {'method': 'uniform'}, True),
        ({}, {'budgets': 'uniform'}, False),
        ({'cuts': 'even'}, {}, False),
        ({'cuts': ['blocks.0', 'blocks.1']}, {}, False),
        ({}, {'method': 'last'}, False),
        ({}, {'costs': [0.1, 0.2, 0.3]}, False),
        ({}, {'costs': 'profile.json'}, False),
        ({'exits': 1}, {}, False),
        ({'resolutions': [16, 32]}, {}, False),
        ({'head_share': [0.01, 0.02]}, {}, False),
        ({'module': None, 'start': 'a.safetensors'}, {}, False),
    ],
)
def test_exits_are_placed_where_budgets_are_given(
    network: dict[str, Any], risk: dict[str, Any], expected: bool
) -> None:
    assert wanted(replace(SMALL, **network), replace(EARLY, **risk)) is expected


@pytest.mark.parametrize(
    ('network', 'risk', 'message'),
    [
        ({'exits': 1}, {}, 'exits is 1'),
        ({'resolutions': [16, 32]}, {}, 'several resolutions'),
        ({}, {'costs': 'profile.json'}, 'write macs or measured'),
        ({'head_share': [0.1]}, {}, 'heads one by one'),
    ],
)
def test_what_cannot_be_placed_is_refused(
    network: dict[str, Any], risk: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        wanted(replace(SMALL, cuts='budgets', **network), replace(EARLY, **risk))


@pytest.fixture
def data(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> PictureData:
    monkeypatch.setattr(estimate, 'MOST_EPOCHS', 2)
    gentle = Augmentation(area=(0.7, 1.0), rotation=0.0, colour=0.0, erase=0.0, mix=0.0)
    return PictureData(str(shapes), size=32, resize=32, augmentation=gentle)


@pytest.mark.usefixtures('one_thread')
def test_a_placement_is_a_network_and_is_made_once(
    data: PictureData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = placed(SMALL, EARLY, data, tmp_path, CPU)
    assert first.about['learned'] + first.about['held_out'] == len(data.pictures)
    assert first.expected >= first.expected_even
    assert [first.candidates[k].name for k in first.even] == ['blocks.0', 'blocks.2']
    network = build(first.options(SMALL), classes=3, image_size=(32, 32))
    chosen = [first.candidates[k] for k in first.chosen]
    assert network.config['cuts'][:-1] == [each.name for each in chosen]
    assert network.costs() == (*(each.backbone + each.head for each in chosen), first.last_cost)

    monkeypatch.setattr(kept, 'place', lambda *_: pytest.fail('made again'))
    assert placed(SMALL, EARLY, data, tmp_path, CPU) == first
    monkeypatch.setattr(kept, 'place', lambda *_: replace(first, budgets='late'))
    other = placed(SMALL, replace(EARLY, budgets='late'), data, tmp_path, CPU)
    assert other.budgets == 'late'
    (tmp_path / FILE).write_text('{"budgets": 1}', encoding='utf-8')
    with pytest.raises(ValueError, match=r'placement\.json: not a placement of exits'):
        placed(SMALL, EARLY, data, tmp_path, CPU)


def test_a_training_that_goes_on_gets_no_other_exits(
    data: PictureData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot, start = tmp_path / 'robot.yaml', tmp_path / 'start.safetensors'
    robot.write_text('a')
    start.write_bytes(b'weights')
    network, risk = replace(SMALL, start=str(start)), replace(EARLY, budgets=str(robot))
    made = Placement('early', 'MACs', (), (), (), 1.0, 0.5, 0.4, 0.4, {}, {})
    monkeypatch.setattr(kept, 'place', lambda *_: made)
    first = placed(network, risk, data, tmp_path, CPU)
    (tmp_path / STATE).touch()
    assert placed(network, risk, data, tmp_path, CPU) == first
    mirrored = PictureData(data.source, size=32, resize=32)
    for changed, given in (
        ('costs', (network, replace(risk, overhead=0.1), data)),
        ('method', (network, replace(risk, method='distil'), data)),
        ('views', (network, risk, mirrored)),
        ('network', (replace(network, exits=4), risk, data)),
    ):
        with pytest.raises(ValueError, match=rf'other {changed} than .*--resume false'):
            placed(*given, tmp_path, CPU)
    start.write_bytes(b'others')
    robot.write_text('b')
    with pytest.raises(ValueError, match='other network, budgets than'):
        placed(network, risk, data, tmp_path, CPU)
    (tmp_path / FILE).unlink()
    with pytest.raises(ValueError, match='is missing'):
        placed(network, risk, data, tmp_path, CPU)
    (tmp_path / STATE).unlink()
    placed(network, risk, data, tmp_path, CPU)


@pytest.mark.usefixtures('one_thread')
def test_placing_leaves_the_random_numbers_as_they_were(data: PictureData, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    placed(replace(SMALL, exits=2), EARLY, data, tmp_path, CPU)
    assert torch.equal(torch.rand(3), expected)


def test_a_placement_survives_its_file() -> None:
    candidate = choice.Candidate('relu', 0, 0.01, 2.0, 1.0, 0.008, 0.4)
    made = Placement('early', 's', (candidate,), (0,), (0,), 9.0, 0.7, 0.3, 0.2, {'views': 3}, {'a': [1]})
    assert Placement.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_seconds_need_measured_costs(data: PictureData, tmp_path: Path) -> None:
    robot = tmp_path / 'robot.yaml'
    robot.write_text('about: {unit: s}\ndistribution: empirical\nsamples: [0.01]\n', encoding='utf-8')
    with pytest.raises(ValueError, match=r'write model\.risk\.costs measured'):
        choice.place(SMALL, RiskOptions(budgets=str(robot)), data, CPU)
    with pytest.raises(ValueError, match='no overhead'):
        choice.place(SMALL, replace(EARLY, overhead=0.1), data, CPU)


def test_too_few_pictures_are_refused(shapes: Path) -> None:
    few = PictureData(str(shapes), size=32, resize=32, limit=6)
    with pytest.raises(DataError, match=r'write model\.network\.cuts even'):
        choice.place(SMALL, EARLY, few, CPU)


@pytest.mark.usefixtures('one_thread')
def test_measured_costs_are_seconds(data: PictureData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, 'TIME_LIMIT', 0.05)
    found = choice.place(SMALL, replace(EARLY, costs='measured', overhead=1.0), data, CPU)
    assert found.unit == 's'
    assert 1.0 < found.last_cost < 2.0
    assert all(0 < each.backbone + each.head < 1.0 for each in found.candidates)
