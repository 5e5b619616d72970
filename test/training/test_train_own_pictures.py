"""python -m training.train with pictures of one's own: what it says first, which epoch it keeps, going on."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.run import get_args_parser

from impatient_ros.checkpoint import load
from training.data.picture_files import PictureFiles
from training.model.path_scores import PathScores
from training.model.small_backbones import SmallResNet
from training.model.training_module import ImpatientModule
from training.train import MAY_DIFFER, main

CONFIG = Path(__file__).resolve().parents[2] / 'config' / 'train' / 'smoke.yaml'

pytestmark = pytest.mark.usefixtures('one_thread')


def command(data: Path, output: Path, *more: str) -> list[str]:
    source = ['--data.source', str(data), '--output', str(output), '--metrics', 'none']
    small = ['--model.network.module_options', '{widths: [4, 8], blocks: 2}', '--trainer.accelerator', 'cpu']
    return ['fit', '--config', str(CONFIG), *source, *small, *more]


def own_module() -> torch.nn.Module:
    return SmallResNet(3, (4, 8), 2)


def epochs_of(folder: Path) -> list[int]:
    with open(folder / 'curve.csv', encoding='utf-8') as file:
        return [int(row['epoch']) for row in csv.DictReader(file)]


def losing(monkeypatch: pytest.MonkeyPatch, losses: Sequence[float]) -> list[dict[str, torch.Tensor]]:
    """From now on the losses of the epochs on validation are these; returns the weights that had them."""
    upcoming, kept = iter(losses), []
    after = ImpatientModule.on_validation_epoch_end

    def means(self: PathScores, reduced: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
        paths = self._sums.shape[1] - 1
        return (0.9,) * paths, (next(upcoming),) * paths

    def keep(self: ImpatientModule) -> None:
        state = self.kept.state_dict()
        kept.append({name: each.clone() for name, each in state.items() if each.is_floating_point()})
        after(self)

    monkeypatch.setattr(PathScores, 'means', means)
    monkeypatch.setattr(ImpatientModule, 'on_validation_epoch_end', keep)
    return kept


@pytest.mark.parametrize(('keep', 'epoch'), [('best', 2), ('last', 4)])
def test_the_epoch_of_the_lowest_risk_on_validation_is_written_or_the_last(
    keep: str, epoch: int, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    had = losing(monkeypatch, [1.0, 0.5, 0.7, 0.6])
    assert main(command(shapes, tmp_path, '--trainer.max_epochs', '4', '--keep', keep)) == 0
    checkpoint = load(tmp_path / 'model.safetensors', module=own_module())
    assert (checkpoint.provenance['epochs'], checkpoint.provenance['kept_epoch']) == (4, epoch)
    written = checkpoint.network.state_dict()
    assert all(torch.equal(written[name], value) for name, value in had[epoch - 1].items())
    assert not all(torch.equal(written[name], value) for name, value in had[(epoch + 1) % 4].items())


def test_a_training_without_progress_ends_stays_ended_and_goes_on_when_it_is_to_have_more_epochs(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing(monkeypatch, [1.0, 0.5, 0.7, 0.6, 0.4, 0.5, 0.5])
    patient = ['--patience', '2', '--trainer.max_epochs']
    assert main(command(shapes, tmp_path, *patient, '8')) == 0
    assert epochs_of(tmp_path) == [1, 2, 3, 4]
    assert main(command(shapes, tmp_path, *patient, '8')) == 0
    assert epochs_of(tmp_path) == [1, 2, 3, 4]
    assert main(command(shapes, tmp_path, *patient, '9')) == 0
    assert epochs_of(tmp_path) == [1, 2, 3, 4, 5, 6, 7]
    about = load(tmp_path / 'model.safetensors', module=own_module()).provenance
    assert (about['epochs'], about['kept_epoch']) == (7, 5)


def test_the_best_epoch_is_known_in_another_folder_and_after_the_last_one_was_kept(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    had = losing(monkeypatch, [0.5, 0.9, 0.8, 0.7, 0.75])
    first, second = tmp_path / 'first', tmp_path / 'second'
    for epochs, keep, kept in (('1', 'best', 1), ('2', 'best', 1), ('3', 'last', 3), ('4', 'best', 1)):
        assert main(command(shapes, first, '--trainer.max_epochs', epochs, '--keep', keep)) == 0
        checkpoint = load(first / 'model.safetensors', module=own_module())
        assert checkpoint.provenance['kept_epoch'] == kept
        first = first.rename(second) if first != second else first
    written = checkpoint.network.state_dict()
    assert all(torch.equal(written[name], value) for name, value in had[0].items())
    (second / 'best.ckpt').unlink()  # a folder that was not moved whole
    assert main(command(shapes, second, '--trainer.max_epochs', '5')) == 0
    assert load(second / 'model.safetensors', module=own_module()).provenance['kept_epoch'] == 5


def test_more_epochs_go_on_with_a_finished_training(shapes: Path, tmp_path: Path) -> None:
    def train(epochs: int) -> list[int]:
        assert main(command(shapes, tmp_path, '--trainer.max_epochs', str(epochs))) == 0
        return epochs_of(tmp_path)

    assert train(1) == [1]
    before = (tmp_path / 'curve.csv').read_text().splitlines()
    assert train(3) == [1, 2, 3]
    assert (tmp_path / 'curve.csv').read_text().splitlines()[:2] == before
    assert load(tmp_path / 'model.safetensors', module=own_module()).provenance['epochs'] == 3


def test_a_network_that_is_started_from_sees_pictures_as_it_learnt_to(shapes: Path, tmp_path: Path) -> None:
    half = ['--data.mean', '[0.5, 0.5, 0.5]', '--data.std', '[0.5, 0.5, 0.5]', '--trainer.max_epochs', '1']
    assert main(command(shapes, tmp_path / 'first', *half)) == 0
    first = load(tmp_path / 'first' / 'model.safetensors', module=own_module())
    start = ['--model.network.start', str(tmp_path / 'first' / 'model.safetensors')]
    start += ['--data.size', 'null', '--data.resize', 'null', '--trainer.max_epochs', '1']
    assert main(command(shapes, tmp_path / 'second', *start)) == 0
    second = load(tmp_path / 'second' / 'model.safetensors', module=own_module())
    assert second.preprocessing == first.preprocessing
    assert second.preprocessing.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--model.network.exits', '0'], 'exits is 0'),
        (['--model.risk.budgets', 'never'], 'neither a distribution'),
        (['--model.risk.class_weights', 'heavy'], "class_weights is 'heavy': write one of none, balanced"),
        (['--model.optimiser.kind', 'adam'], "kind is 'adam': write one of adamw, sgd"),
        (['--model.optimiser.head_rate', '0'], 'head_rate is 0.0: write a number above 0'),
        (['--data.validation_split', 'exam'], "no split 'exam'; its folders are train, validation"),
        (['--data.hold_out', '90'], 'train/disc has too few pictures (24): 30 of every class'),
        (['--keep', 'all'], "keep is 'all': write one of best, last"),
        (['--patience', '-1'], 'patience is -1'),
    ],
)
def test_options_are_checked_before_anything_is_decoded(
    options: list[str],
    message: str,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(PictureFiles, 'picture', None)
    assert main(command(shapes, tmp_path, *options)) == 2
    assert message in capsys.readouterr().err


def test_it_says_first_what_it_is_about_to_do(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ['--model.risk.class_weights', 'balanced', '--data.augmentation.mirror', '0']
    assert main(command(shapes, tmp_path, '--trainer.max_epochs', '1', *options)) == 0
    said = ' '.join(capsys.readouterr().err.split())
    for expected in (
        '3 classes, 72 to learn from, 30 to validate (split validation)',
        'disc 24 10',
        'SmallResNet, not pretrained',
        '3 exits at 32 px',
        'exit million MACs of all weight 1 ',
        'no picture is mirrored; all classes count alike',
    ):
        assert expected in said


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main([*arguments])
    return capsys.readouterr().out


def test_help_begins_with_the_ten_options_that_people_use(capsys: pytest.CaptureFixture[str]) -> None:
    said = help_of(capsys, 'fit', '--help')
    assert help_of(capsys, '--help') == said
    first = said.split('options:', 1)[0]
    often = re.findall(r'^  (--[\w.]+) ', first, re.MULTILINE)
    assert len(often) == 10
    assert often[:2] == ['--data.source', '--output']
    values = ['pictures', 'out', 'null', '3', '64', '2', 'early', 'balanced', '0', '1']
    given = [f'{option}={value}' for option, value in zip(often, values, strict=True)]
    understood = help_of(capsys, 'fit', *given, '--print_config')
    assert 'class_weights: balanced' in understood
    assert 'mirror: 0' in understood


def test_torchrun_takes_no_option_for_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    said = help_of(capsys, 'fit', '--help')
    # From Python 3.13 on '-c, --config CONFIG' instead of '-c CONFIG, --config CONFIG'.
    ours = sorted({*re.findall(r'^  (?:-\w(?: \S+)?, )?(--[\w.]+)', said, re.MULTILINE)})
    assert {'--metrics', '--output', *(f'--{name}' for name in MAY_DIFFER[:4])} <= {*ours}
    for option in ours:
        rest = ['-m', 'training.train', 'fit', option, 'x']
        parsed = get_args_parser().parse_args(['--nproc_per_node', '2', *rest])
        assert parsed.training_script_args == ['fit', option, 'x']
