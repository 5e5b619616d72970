"""python -m training.import_network: existing classifiers become checkpoints that answer the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

from impatient_ros.checkpoint import load
from training.data.labelled_pictures import read
from training.import_network import main
from training.model.small_backbones import SmallResNet
from training.scoring.exit_scores import evaluate

FACTORY = 'training.model.small_backbones:SmallResNet'

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, torch.nn.Module]:
    """A state dict for the three classes of the pictures, and whose it is."""
    torch.manual_seed(3)
    module = torchvision.models.squeezenet1_1(num_classes=3).eval()
    path = tmp_path / 'own.pth'
    torch.save(module.state_dict(), path)
    return path, module


def imported(tmp_path: Path, *arguments: object) -> Path:
    output = tmp_path / 'made' / 'model.safetensors'
    assert main([*map(str, arguments), '--output', str(output)]) == 0
    return output


def test_a_classifier_with_own_weights_is_measured_and_answers_as_before(
    weights: tuple[Path, torch.nn.Module], shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path, module = weights
    size = ('--image-size', 64, '--mean', 0.5, 0.5, 0.5, '--std', 0.25, 0.25, 0.25)
    made = imported(tmp_path, '--torchvision', 'squeezenet1_1', '--weights', path, '--data', shapes, *size)
    checkpoint = load(made)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        (scores,) = checkpoint.network(x)
        torch.testing.assert_close(scores, module(x))
    assert checkpoint.labels == ('disc', 'ring', 'square')
    assert checkpoint.accuracies_measured
    assert f'{100 * checkpoint.accuracies[0]:.2f}%' in capsys.readouterr().out
    assert checkpoint.preprocessing.mean == (0.5, 0.5, 0.5)
    assert (checkpoint.preprocessing.size, checkpoint.preprocessing.resize) == (
        (64, 64),
        round(64 * 256 / 224),
    )
    about = checkpoint.provenance
    assert about['trained_exits'] == [0]
    assert about['accuracy'] == 'validation, 30 pictures'


def test_a_classifier_of_timm_brings_its_preprocessing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    module = timm.create_model('resnet10t', num_classes=2).eval()
    torch.save(module.state_dict(), tmp_path / 'own.pth')
    (tmp_path / 'names.txt').write_text('cat\ndog\n')
    made = imported(
        tmp_path, '--timm', 'resnet10t', '--weights', tmp_path / 'own.pth', '--labels', tmp_path / 'names.txt'
    )
    checkpoint = load(made)
    assert checkpoint.labels == ('cat', 'dog')
    assert checkpoint.preprocessing.size == (176, 176)
    assert checkpoint.preprocessing.resize == round(176 / 0.875)
    assert not checkpoint.accuracies_measured
    x = torch.randn(1, 3, 176, 176)
    with torch.no_grad():
        torch.testing.assert_close(checkpoint.network(x)[-1], module(x))
    assert 'untrained' not in caplog.text
    assert 'at random' not in caplog.text


def test_more_exits_are_said_to_be_untrained(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = imported(tmp_path, '--factory', FACTORY, '--classes', 4, '--exits', 3, '--image-size', 32)
    assert 'only the last of 3 exits is trained' in caplog.text
    assert 'the classes have no names' in caplog.text
    checkpoint = load(made, module=SmallResNet(4))
    assert checkpoint.labels == ('class 0', 'class 1', 'class 2', 'class 3')
    assert checkpoint.provenance['trained_exits'] == [2]
    assert len(checkpoint.network.exits) == 3


def test_a_factorys_weights_are_those_of_the_file(tmp_path: Path) -> None:
    module = SmallResNet(10).eval()
    torch.save({'state_dict': module.state_dict()}, tmp_path / 'own.pth')
    made = imported(tmp_path, '--factory', FACTORY, '--weights', tmp_path / 'own.pth', '--image-size', 32, 48)
    checkpoint = load(made, module=SmallResNet(10))
    x = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(checkpoint.network(x)[-1], module(x))


def test_resolutions_become_paths_that_were_measured(
    weights: tuple[Path, torch.nn.Module], shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path, module = weights
    made = imported(
        tmp_path, '--torchvision', 'squeezenet1_1', '--weights', path, '--data', shapes,
        '--resolutions', '48,40,64', '--half', '--fit', 'squash',
    )  # fmt: skip
    checkpoint = load(made)
    assert [each.side for each in checkpoint.resolutions] == [40, 48, 64]
    assert checkpoint.accuracies_measured
    assert checkpoint.half
    assert {each.preprocessing.fit for each in checkpoint.resolutions} == {'squash'}
    assert made.stat().st_size < 0.6 * path.stat().st_size
    validation = read(shapes, 'validation')
    for each in checkpoint.resolutions:
        own = evaluate(checkpoint.network.at(each.side), validation, checkpoint.preprocessing.at(each.side))
        assert each.accuracies == pytest.approx(own.accuracies)  # of the weights as they are stored
        assert each.temperatures == pytest.approx(own.temperatures())
    x = torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        module.half().float()
        torch.testing.assert_close(checkpoint.network.at(40)(x)[0], module(x), rtol=0.02, atol=0.02)
    table = capsys.readouterr().out
    assert [line.split()[0] for line in table.splitlines()[1:4]] == ['40', '48', '64']
    assert '%*' in table


def test_resolutions_that_nobody_measured_are_said_to_be_so(
    weights: tuple[Path, torch.nn.Module], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = imported(
        tmp_path, '--torchvision', 'squeezenet1_1', '--weights', weights[0], '--resolutions', '48,64'
    )
    assert 'nobody measured what the resolutions are worth' in caplog.text
    checkpoint = load(made)
    assert not checkpoint.accuracies_measured
    assert [path.resolution for path in checkpoint.paths] == [48, 64]
    assert checkpoint.paths[0].accuracy < checkpoint.paths[1].accuracy


def test_data_of_some_of_the_labels_is_enough(
    shapes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'names.txt').write_text('cube\nsquare\nring\ndisc\n')
    made = imported(
        tmp_path, '--torchvision', 'squeezenet1_1', '--labels', tmp_path / 'names.txt', '--data', shapes,
        '--image-size', 32,
    )  # fmt: skip
    assert load(made).labels == ('cube', 'square', 'ring', 'disc')
    assert 'the data has 3 of the 4 classes' in caplog.text


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--torchvision', 'resnet19'], 'torchvision has no classifier'),
        (['--family', 'theirs', 'net'], "no family of classifiers 'theirs' is installed"),
        (['--torchvision', 'squeezenet1_1', '--weights', 'gone.pth'], 'there is no file gone.pth'),
        (
            ['--torchvision', 'squeezenet1_1', '--weights', 'OWN', '--classes', '5', '--data', 'DATA'],
            '3 labels',
        ),
        (['--factory', 'nowhere:net'], 'cannot be imported'),
        (['--factory', FACTORY, '--weights', 'OWN', '--image-size', '32'], 'does not fit training.model'),
        (['--factory', FACTORY, '--labels', 'gone.txt'], 'gone.txt'),
        (['--factory', FACTORY, '--exits', '90', '--image-size', '32'], '90 exits do not fit'),
        (['--factory', FACTORY, '--image-size', '1', '2', '3'], 'size'),
        (['--factory', FACTORY, '--data', 'gone'], 'gone'),
        (['--factory', FACTORY, '--image-size', '32', '--std', '0', '1', '1'], 'std'),
        (['--factory', FACTORY, '--resolutions', 'all'], 'write sides in pixels'),
        (['--factory', FACTORY, '--resolutions', '16,48', '--image-size', '32'], 'which is its largest'),
        (['--factory', FACTORY, '--resolutions', '16', '--image-size', '32', '48'], 'only squares'),
        (['--torchvision', 'vit_b_32', '--resolutions', '32,64'], 'no resolution of 32 px'),
    ],
)
def test_what_cannot_be_imported_is_said_in_one_line(
    arguments: list[str],
    message: str,
    weights: tuple[Path, torch.nn.Module],
    shapes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    paths = {'OWN': str(weights[0]), 'DATA': str(shapes)}
    output = tmp_path / 'none.safetensors'
    assert main([*(paths.get(each, each) for each in arguments), '--output', str(output)]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith('import_network: ')
    assert message in said
    assert not output.exists()


def test_the_command_runs_as_a_module(tmp_path: Path) -> None:
    command = [
        sys.executable,
        '-W',
        'error',
        '-m',
        'training.import_network',
        '--torchvision',
        'squeezenet1_1',
    ]
    output = tmp_path / 'model.safetensors'
    done = subprocess.run(
        [*command, '--classes', '2', '--image-size', '64', '--output', output],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'this network answers at random until it is trained' in done.stderr
    assert 'not measured' in done.stdout
    assert load(output).network.classes == 2
