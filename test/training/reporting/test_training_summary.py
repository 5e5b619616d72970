"""training.reporting.training_summary: what a training is about to do, in a window of any width."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from plain_pictures import jpeg
from rich.console import Console

from training.data.data_module import PictureData
from training.model.networks import NetworkOptions
from training.model.training_module import ImpatientModule
from training.reporting.training_summary import training_summary
from training.risk.options import RiskOptions

SMALL = NetworkOptions(
    module='training.model.small_backbones.SmallResNet',
    module_options={'widths': [4, 8], 'blocks': 2},
    exits=3,
)


def said(data: PictureData, risk: RiskOptions, width: int = 100) -> list[str]:
    module = ImpatientModule(SMALL, risk)
    module.prepare_for(data)
    text = io.StringIO()
    Console(file=text, width=width).print(training_summary(data, module, epochs=7))
    return [line.rstrip() for line in text.getvalue().splitlines()]


@pytest.fixture
def unbalanced(folder: Path) -> PictureData:
    for number in range(6, 40):
        (folder / f'train/hat/{number}.jpg').write_bytes(jpeg((250, 0, 0)))
    (folder / 'train/hat/notes.txt').write_text('x')
    for number in range(20):
        for split in ('train', 'validation'):
            (folder / f'{split}/shoes {number:02}').mkdir()
            (folder / f'{split}/shoes {number:02}/0.jpg').write_bytes(jpeg((0, 0, 9 * number)))
    return PictureData(str(folder), size=32)


@pytest.mark.parametrize('width', [60, 200])
def test_it_fits_into_the_window(width: int, unbalanced: PictureData) -> None:
    lines = said(unbalanced, RiskOptions(), width)
    assert max(map(len, lines)) <= width
    text = ' '.join(' '.join(lines).split())
    for expected in (
        '22 classes, 66 to learn from, 24 to validate (split validation)',
        'hat 40 2',
        'and 10 more 1 to 1',
        '1 files of train left out, no pictures: 1 .txt',
        'hat has 40.0 times as many as shoes 00: --model.risk.class_weights balanced',
        '3 exits at 32 px',
        'method joint, budgets uniform; at most 7 epochs in batches of 64; learning rate 0.002;',
        '50% of the views are mirrored',
    ):
        assert expected in text


def test_the_shares_and_weights_are_the_networks_own(shapes: Path) -> None:
    data = PictureData(str(shapes), size=32)
    lines = said(data, RiskOptions(method='uniform', class_weights='balanced'))
    rows = [line.split() for line in lines if line.endswith('0.33')]
    assert [row[0] for row in rows] == ['1', '2', '3']
    assert rows[-1][2] == '100%'
    assert not any('times as many' in line or 'too short for any exit' in line for line in lines)
    assert any('all classes count alike' in line for line in lines)
