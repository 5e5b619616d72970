"""python -m training.train: from pictures to a checkpoint, resuming, and what it refuses."""

from __future__ import annotations

import csv
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from impatient_ros.checkpoint import load
from training.data.data_module import PictureData
from training.data.labelled_pictures import read
from training.model.networks import NetworkOptions
from training.model.optimisation import OptimiserOptions
from training.model.small_backbones import SmallResNet
from training.model.training_module import ImpatientModule
from training.placement import choice, estimate
from training.placement.kept import FILE
from training.risk.options import RiskOptions
from training.scoring.exit_scores import evaluate
from training.train import main

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'config' / 'train' / 'smoke.yaml'
SMALL = ['--model.network.module_options', '{widths: [4, 8], blocks: 2}']

pytestmark = pytest.mark.usefixtures('one_thread')


def command(data: Path, output: Path, *more: str) -> list[str]:
    source = ['--data.source', str(data), '--output', str(output)]
    return ['fit', '--config', str(CONFIG), *source, *SMALL, '--trainer.accelerator', 'cpu', *more]


def curve(folder: Path) -> list[dict[str, str]]:
    with open(folder / 'curve.csv', encoding='utf-8') as file:
        return [{k: v for k, v in row.items() if k != 'seconds'} for row in csv.DictReader(file)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder / 'model.safetensors', module=own_module()).network.state_dict()


def own_module() -> torch.nn.Module:
    return SmallResNet(3, (4, 8), 2)


def test_a_training_leaves_a_checkpoint_that_says_where_it_comes_from(shapes: Path, tmp_path: Path) -> None:
    assert main(command(shapes, tmp_path, '--trainer.max_epochs', '1', '--seed_everything', '7')) == 0
    checkpoint = load(tmp_path / 'model.safetensors', module=own_module())
    assert checkpoint.labels == ('disc', 'ring', 'square')
    assert checkpoint.accuracies_measured
    assert len(checkpoint.temperatures) == 3
    about = checkpoint.provenance
    assert about['seed'] == 7
    assert about['method'] == 'joint'
    assert about['training_pictures'] == 72
    assert '--seed_everything 7' in about['command']
    again = evaluate(checkpoint.network, read(shapes, 'validation'), checkpoint.preprocessing)
    assert again.accuracies == checkpoint.accuracies
    assert (tmp_path / 'config.yaml').exists()
    assert list(tmp_path.glob('log/*/metrics.csv'))


def test_exits_placed_by_budgets_are_kept_by_the_run_and_told_by_its_checkpoint(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, 'MOST_EPOCHS', 1)
    early = command(shapes, tmp_path, '--model.risk.budgets', 'early', '--metrics', 'none')
    assert main([*early, '--trainer.max_epochs', '1']) == 0
    kept = json.loads((tmp_path / FILE).read_text(encoding='utf-8'))
    checkpoint = load(tmp_path / 'model.safetensors', module=own_module())
    names = [kept['candidates'][k]['name'] for k in kept['chosen']]
    assert checkpoint.network.config['cuts'][:-1] == names
    assert checkpoint.provenance['placement'] == kept
    assert checkpoint.provenance['network'].get('cuts', []) == names

    monkeypatch.setattr(choice, 'estimated', lambda *_, **__: pytest.fail('estimated again'))
    assert main([*early, '--trainer.max_epochs', '1']) == 0  # resumes


def test_a_training_at_several_resolutions_leaves_a_checkpoint_with_all_paths(
    shapes: Path, tmp_path: Path
) -> None:
    several = [
        '--model.network.resolutions',
        '[16, 24, 32]',
        '--trainer.max_epochs',
        '1',
        '--metrics',
        'none',
    ]
    assert main(command(shapes, tmp_path, *several)) == 0
    checkpoint = load(tmp_path / 'model.safetensors', module=own_module())
    assert [each.side for each in checkpoint.resolutions] == [16, 24, 32]
    assert len(checkpoint.paths) == 9
    for each in checkpoint.resolutions:
        network = checkpoint.network.at(each.side)
        again = evaluate(network, read(shapes, 'validation'), checkpoint.preprocessing.at(each.side))
        assert again.accuracies == each.accuracies
        assert again.temperatures() == each.temperatures
        assert each.graph is not None
    about = checkpoint.provenance
    assert about['processed_pictures'] == 3 * 64  # the last, smaller batch is left out
    whole = sum(checkpoint.network.at(side).costs('interruptible')[-1] for side in (16, 24, 32))
    assert about['processed_macs'] == 64 * whole
    assert 'at 16, 24, 32 px' in about['budgets']
    [row] = curve(tmp_path)
    assert {
        f'{what}_{side}px_{t}' for what in ('accuracy', 'loss') for side in (16, 24, 32) for t in (1, 2, 3)
    } < (row.keys())


@pytest.mark.parametrize('more', [[], ['--model.network.resolutions', '[16, 20, 24, 32]']])
def test_an_interrupted_training_goes_on_to_the_same_curve_and_weights(
    more: list[str], shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    epochs = ['--trainer.max_epochs', '3', '--metrics', 'none', *more]
    assert main(command(shapes, whole, *epochs)) == 0

    start = ImpatientModule.on_train_epoch_start

    def killed(self: ImpatientModule) -> None:
        if self.current_epoch == 2:
            raise ValueError('killed')
        start(self)

    with monkeypatch.context() as patch:
        patch.setattr(ImpatientModule, 'on_train_epoch_start', killed)
        assert main(command(shapes, broken, *epochs)) == 2
    assert len(curve(broken)) == 2
    assert not (broken / 'model.safetensors').exists()
    assert main(command(shapes, broken, *epochs, '--data.workers', '2')) == 0  # as many as one likes
    assert curve(broken) == curve(whole)
    one, other = weights(whole), weights(broken)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert main(command(shapes, broken, *epochs)) == 0  # nothing is left to do
    assert curve(broken) == curve(whole)
    budgets = [
        load(each / 'model.safetensors', module=own_module()).provenance['budgets']
        for each in (whole, broken)
    ]
    assert budgets[0] == budgets[1]


@pytest.mark.slow
def test_a_training_killed_by_the_system_goes_on_to_the_same_curve(shapes: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    epochs = ['--trainer.max_epochs', '40', '--metrics', 'none']
    run = [sys.executable, '-m', 'training.train']
    process = subprocess.Popen([*run, *command(shapes, broken, *epochs)], cwd=ROOT)
    while not (broken / 'last.ckpt').exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (broken / 'model.safetensors').exists()
    for folder in (broken, whole):
        assert subprocess.run([*run, *command(shapes, folder, *epochs)], cwd=ROOT).returncode == 0
    assert curve(broken) == curve(whole)


def test_an_interrupted_training_does_not_go_on_with_other_options(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once = ['--trainer.max_epochs', '1', '--metrics', 'none']
    assert main(command(shapes, tmp_path, *once)) == 0
    assert main(command(shapes, tmp_path, *once, '--model.risk.budgets', 'late')) == 2
    assert 'differs in model.risk.budgets' in capsys.readouterr().err
    assert main(command(shapes, tmp_path, *once, '--model.risk.budgets', 'late', '--resume', 'false')) == 0


def test_a_training_does_not_go_on_with_other_pictures(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, run = tmp_path / 'pictures', tmp_path / 'run'
    shutil.copytree(shapes, pictures)
    one, two = (['--trainer.max_epochs', count, '--metrics', 'none'] for count in '12')
    assert main(command(pictures, run, *one)) == 0
    known = next((pictures / 'train').glob('*/*'))
    added = known.with_name(f'another{known.suffix}')
    shutil.copy(known, added)
    assert main(command(pictures, run, *two)) == 2
    assert 'no longer those of the saved state' in capsys.readouterr().err
    added.unlink()
    assert main(command(pictures, run, *two)) == 0
    for split in ('train', 'validation'):
        shutil.copytree(pictures / split / known.parent.name, pictures / split / 'zebra')
    assert main(command(pictures, run, *two)) == 2
    assert 'or their classes, are no longer those' in capsys.readouterr().err
    assert main(command(pictures, run, *one, '--resume', 'false')) == 0


def test_a_training_begun_anew_and_interrupted_leaves_nothing_of_the_one_before(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = ['--trainer.max_epochs', '1', '--metrics', 'none']
    late = [*once, '--model.risk.budgets', 'late']
    assert main(command(shapes, tmp_path, *once)) == 0

    def killed(self: ImpatientModule) -> None:
        raise ValueError('killed')

    with monkeypatch.context() as patch:
        patch.setattr(ImpatientModule, 'on_train_epoch_start', killed)
        assert main(command(shapes, tmp_path, *late, '--resume', 'false')) == 2
    assert not [*tmp_path.glob('*.ckpt')]
    assert main(command(shapes, tmp_path, *late)) == 0
    fresh = tmp_path / 'fresh'
    assert main(command(shapes, fresh, *late)) == 0
    assert curve(tmp_path) == curve(fresh)


def test_a_network_of_torchvision_starts_from_weights_and_heads_learn_on_the_frozen_backbone(
    shapes: Path, tmp_path: Path
) -> None:
    def train(name: str, *more: str) -> Any:
        backbone = ['--model.network.module', 'null', '--model.network.module_options', '{}']
        backbone += ['--model.network.backbone', 'shufflenet_v2_x0_5', '--trainer.max_epochs', '1']
        assert main([*command(shapes, tmp_path / name), *backbone, '--metrics', 'none', *more]) == 0
        return load(tmp_path / name / 'model.safetensors')

    last = train('last', '--model.risk.method', 'last')
    assert last.provenance['trained_exits'] == [2]
    start = ['--model.network.start', str(tmp_path / 'last' / 'model.safetensors')]
    separate = train('separate', '--model.risk.method', 'separate', *start)
    before, after = last.network.state_dict(), separate.network.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    learnt = {name for name in before if name.startswith(('exits.0.', 'exits.1.'))}
    assert same & learnt == set()
    assert before.keys() - learnt <= same
    assert after.keys() == before.keys()
    assert separate.accuracies[2] == last.accuracies[2]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--model.network.exits', '0'], 'exits is 0: write a whole number, at least 1'),
        (
            ['--model.network.backbone', 'resnet19', '--model.network.module', 'null'],
            "'resnet19'; did you mean resnet18",
        ),
        (['--model.network.backbone', 'resnet18'], 'write either backbone'),
        (['--model.network.module', 'nowhere.Net'], 'cannot be imported'),
        (['--model.risk.method', 'magic'], 'write one of joint, distil, uniform'),
        (['--model.risk.method', 'separate'], 'model.network.start'),
        (['--model.risk.method', 'truncated'], 'model.risk.exit'),
        (['--model.risk.budgets', 'never'], 'neither a distribution'),
        (
            ['--model.optimiser.learning_rate', '1e30', '--trainer.gradient_clip_val', 'null'],
            'the loss of exit',
        ),
        (['--data.source', 'nowhere.zip'], 'neither a folder nor a zip file'),
        (['--metrics', 'papyrus'], 'write one of csv'),
        (['--model.network.resolutions', '[32, 16]'], 'write sides in pixels, ascending'),
        (
            ['--model.network.resolutions', '[16, 32]', '--data.sizes', '[16, 32]'],
            'both say at which sizes to learn',
        ),
    ],
)
def test_what_cannot_work_ends_with_what_to_write_instead(
    options: list[str], message: str, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(shapes, tmp_path / 'run', *options)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('folder', 'message'), [('train/empty', 'differ in their class folders: empty'), ('both', '')]
)
def test_class_folders_that_are_empty_or_differ_end_the_command(
    folder: str, message: str, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / 'data'
    data.mkdir()
    for split in ('train', 'validation'):
        os.symlink(shapes / split, data / split)
    if folder == 'both':
        for split in ('train', 'validation'):
            (data / split).unlink()
            (data / split / 'empty').mkdir(parents=True)
            os.symlink(shapes / split / 'disc', data / split / 'disc')
        message = 'train/empty holds no readable picture'
    else:
        (data / 'train').unlink()
        (data / folder).mkdir(parents=True)
        for label in ('disc', 'ring', 'square'):
            os.symlink(shapes / 'train' / label, data / 'train' / label)
    assert main(command(data, tmp_path / 'run')) == 2
    assert message in capsys.readouterr().err


def test_tensorboard_logs_and_mixed_precision_are_options(shapes: Path, tmp_path: Path) -> None:
    options = ['--trainer.max_epochs', '1', '--metrics', 'tensorboard', '--trainer.precision', 'bf16-mixed']
    assert main(command(shapes, tmp_path, *options)) == 0
    assert list(tmp_path.glob('log/*/events.out.tfevents.*'))
    assert load(tmp_path / 'model.safetensors', module=own_module()).provenance['precision'] == 'bf16-mixed'


def test_every_shipped_configuration_is_understood() -> None:
    found = sorted(CONFIG.parent.glob('*.yaml'))
    assert {'cifar10', 'default', 'imagenet', 'smoke'} <= {file.stem for file in found}
    for file in found:
        values = yaml.safe_load(file.read_text())
        assert values['data'].keys() <= set(inspect.signature(PictureData).parameters)
        assert values['model'].keys() <= set(inspect.signature(ImpatientModule).parameters)
        for key, kind in (
            ('network', NetworkOptions),
            ('risk', RiskOptions),
            ('optimiser', OptimiserOptions),
        ):
            kind(**values['model'].get(key, {}))
