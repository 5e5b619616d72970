"""training.train_default: from folders of pictures to a checkpoint, on generated data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from impatient_ros.checkpoint import load
from impatient_ros.network import ImpatientNetwork
from impatient_ros.preprocess import Preprocessing
from training.augmentation import Augmentation
from training.data import Pictures, read
from training.evaluate import evaluate
from training.train_default import Schedule, fit, main

SMALL = [
    '--backbone',
    'shufflenet_v2_x0_5',
    '--size',
    '32',
    '--resize',
    '36',
    '--exits',
    '3',
    '--threads',
    '1',
]


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that differ in brightness, 16 and 8 pictures of each."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    for split, count in (('train', 16), ('validation', 8)):
        for label, level in (('dark', 40), ('light', 200)):
            (root / split / label).mkdir(parents=True)
            for index in range(count):
                picture = rng.integers(level - 20, level + 20, (48, 40, 3), np.uint8)
                cv2.imwrite(str(root / split / label / f'{index}.png'), picture)
    return root


@pytest.fixture
def one_thread() -> None:
    torch.set_num_threads(1)


def train(pictures: Pictures, seed: int, epochs: int = 1) -> tuple[ImpatientNetwork, list[float]]:
    torch.manual_seed(0)
    network = ImpatientNetwork.from_torchvision('shufflenet_v2_x0_5', exits=3, classes=2, image_size=32)
    losses: list[float] = []
    averaged = fit(
        network,
        pictures,
        Schedule(epochs, batch_size=8, averaging=0.5),
        sizes=[32],
        preprocessing=Preprocessing(32, 36),
        augmentation=Augmentation(colour=0.0, erase=0.0, mix=0.0),
        seed=seed,
        each_epoch=lambda epoch, net, report: losses.append(sum(report['loss'])),
    )
    return averaged, losses


@pytest.mark.usefixtures('one_thread')
def test_training_learns_at_every_exit_and_ends_in_eval_mode(data: Path) -> None:
    averaged, losses = train(read(data, 'train'), seed=0, epochs=20)
    assert losses[-1] < 0.6 * losses[0]
    assert not averaged.training
    evaluation = evaluate(averaged, read(data, 'validation'), Preprocessing(32, 36))
    assert min(evaluation.accuracies) > 0.8


@pytest.mark.usefixtures('one_thread')
def test_the_same_seed_gives_the_same_weights(data: Path) -> None:
    pictures = read(data, 'train')
    first, again, other = (train(pictures, seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.usefixtures('one_thread')
def test_the_command_writes_a_checkpoint_that_says_where_it_comes_from(data: Path, tmp_path: Path) -> None:
    state, output = tmp_path / 'state.pth', tmp_path / 'model.safetensors'
    command = ['--data', str(data), '--output', str(output), '--epochs', '1', '--batch-size', '16', *SMALL]
    command += [
        '--pretrain',
        str(data),
        '--pretrain-epochs',
        '1',
        '--pretrain-size',
        '32',
        '--start',
        str(state),
    ]
    assert main(command) == 0
    assert state.exists()
    checkpoint = load(output)
    assert checkpoint.labels == ('dark', 'light')
    assert checkpoint.accuracies_measured
    assert len(checkpoint.accuracies) == len(checkpoint.temperatures) == 3
    assert checkpoint.preprocessing == Preprocessing(32, 36)
    assert checkpoint.provenance['seed'] == 0
    assert '--epochs 1' in checkpoint.provenance['command']
    again = evaluate(checkpoint.network, read(data, 'validation'), checkpoint.preprocessing)
    assert again.accuracies == checkpoint.accuracies


def test_a_split_that_lacks_a_class_ends_the_command_before_it_trains(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, labels in (('train', ('a', 'b')), ('validation', ('a',))):
        for label in labels:
            (tmp_path / split / label).mkdir(parents=True)
            (tmp_path / split / label / '0.png').write_bytes((data / 'train/dark/0.png').read_bytes())
    assert main(['--data', str(tmp_path), *SMALL]) == 2
    assert "'train' and 'validation' differ" in capsys.readouterr().err
