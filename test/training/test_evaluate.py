"""python -m training.evaluate: the numbers of a checkpoint on a split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from impatient_ros.checkpoint import read, save
from impatient_ros.images.preprocessing import Preprocessing
from training.evaluate import main
from training.model.networks import NetworkOptions, build

OPTIONS = {'widths': [4, 8], 'blocks': 1}

pytestmark = pytest.mark.usefixtures('one_thread')


def checkpoint(
    path: Path, module: str = 'training.model.small_backbones.SmallResNet', **provenance: object
) -> Path:
    torch.manual_seed(0)
    network = build(
        NetworkOptions(module=module, module_options=OPTIONS, exits=3), classes=3, image_size=(32, 32)
    )
    save(
        network,
        path,
        labels=['disc', 'ring', 'square'],
        preprocessing=Preprocessing(32, 32),
        accuracies=[0.4, 0.6, 0.5],
        temperatures=[1.0, 2.0, 3.0],
        provenance={'network': {'module': module, 'module_options': OPTIONS}, **provenance},
    )
    return path


@pytest.fixture(scope='module')
def result(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp('model')
    budgets = folder / 'robot.yaml'
    budgets.write_text('distribution: uniform\nlow: 0.0\nhigh: 1000.0\n')
    model = checkpoint(folder / 'model.safetensors')
    fixed = checkpoint(folder / 'fixed.safetensors', trained_exits=[0])
    out = folder / 'out' / 'evaluation.json'
    command = [
        '--checkpoint',
        str(model),
        '--data',
        str(shapes),
        '--split',
        'validation',
        '--costs',
        'measured',
    ]
    command += ['--budgets', f'uniform,late,{budgets}', '--fixed', str(fixed), '--json', str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('training.risk.costs.TIME_LIMIT', 0.1)
        assert main(command) == 0
    found: dict[str, object] = json.loads(out.read_text())
    found['robot'] = str(budgets)
    return found


def test_every_exit_has_its_numbers(result: dict) -> None:
    assert len(result['exits']) == 3
    for row in result['exits']:
        assert {'accuracy', 'ece', 'ece_uncalibrated', 'nll', 'macs', 'latency'} <= row.keys()
        assert sum(row['reliability']['count']) == 30
        assert sum(row['class_accuracy']) / 3 == pytest.approx(row['accuracy'])
    macs = [row['macs'] for row in result['exits']]
    assert macs == sorted(macs)
    assert result['exits'][0]['ece'] == result['exits'][0]['ece_uncalibrated']  # its temperature is 1
    assert result['pictures'] == 30


def test_the_checkpoints_accuracies_choose_and_the_splits_count(result: dict) -> None:
    """Any budget of up to 1000 s fits all: the second exit, said to be best, answers."""
    second = result['exits'][1]['accuracy']
    assert result['expected_accuracy'][result['robot']] == pytest.approx(second, abs=1e-3)
    assert result['exit_share'][result['robot']][2] > 0.99
    assert not result['chosen_on_halves']  # the checkpoint's are of other pictures
    best = max(row['accuracy'] for row in result['exits'])
    assert result['best_single_exit'][result['robot']] == pytest.approx(best, abs=1e-3)


def test_a_fixed_network_counts_with_the_exit_that_was_trained(result: dict) -> None:
    first = result['exits'][0]['accuracy']  # the same weights
    assert result['best_fixed'][result['robot']] == pytest.approx(first, abs=1e-3)
    assert set(result['best_fixed']) == set(result['expected_accuracy'])


def test_with_macs_nothing_depends_on_the_machine(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model = checkpoint(tmp_path / 'model.safetensors')
    for name in 'ab':
        given = ['--checkpoint', str(model), '--data', str(shapes), '--split', 'validation']
        assert main([*given, '--name', 'it', '--json', str(tmp_path / name)]) == 0
    assert (tmp_path / 'a').read_text() == (tmp_path / 'b').read_text()
    assert 'uniform: ' in capsys.readouterr().out
    found = json.loads((tmp_path / 'a').read_text())
    assert set(found['expected_accuracy']) == {'uniform', 'normal', 'early', 'late', 'bimodal'}
    assert 'best_fixed' not in found
    assert 'latency' not in found['exits'][0]


def test_every_path_is_measured_and_written(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model, new, out = checkpoint(tmp_path / 'old'), tmp_path / 'new', tmp_path / 'out.json'
    given = ['--data', str(shapes), '--split', 'validation', '--json', str(out)]
    command = ['--checkpoint', str(model), *given, '--resolutions', '16,24', '--write', str(new), '--half']
    assert main(command) == 0
    rows = json.loads(out.read_text())['paths']
    assert sorted({row['resolution'] for row in rows}) == [16, 24, 32]
    assert len(rows) == 9
    first = json.loads(out.read_text())
    # The checkpoint knows nothing of 16 and 24 px, and what it says of 32 px is of other pictures.
    assert (first['chosen_on_halves'], first['paths_chosen_on_halves']) == (False, True)
    expected = first['expected_accuracy_of_paths']
    best = max(row['accuracy'] for row in rows)
    assert expected.keys() == json.loads(out.read_text())['expected_accuracy'].keys()
    assert all(0 < value <= best for value in expected.values())
    assert '24 px, exit 2 of 3' in capsys.readouterr().out
    written = read(new)
    assert written.half
    assert [
        (path.resolution, path.exit_index, path.accuracy, path.temperature) for path in written.paths
    ] == [(row['resolution'], row['exit_index'], row['accuracy'], row['temperature']) for row in rows]
    assert written.provenance['accuracy'].endswith('validation, 30 pictures')
    # The new file has its resolutions and temperatures, and what is measured on it is what it says.
    assert main(['--checkpoint', str(new), *given]) == 0
    result = json.loads(out.read_text())
    again = result['paths']
    assert [row['accuracy'] for row in again] == [row['accuracy'] for row in rows]
    # Its accuracies are of these very pictures: one half of them chooses, the other one counts.
    assert result['chosen_on_halves']
    assert result['paths_chosen_on_halves']
    assert 'chosen on each half' in capsys.readouterr().out
    assert result['expected_accuracy_of_paths'] == pytest.approx(expected)
    assert [row['temperature'] for row in again] == [row['temperature'] for row in rows]


def test_writing_without_resolutions_measures_the_one_there_is(shapes: Path, tmp_path: Path) -> None:
    model, new = checkpoint(tmp_path / 'old'), tmp_path / 'new'
    given = ['--checkpoint', str(model), '--data', str(shapes), '--split', 'validation']
    assert main([*given, '--write', str(new), '--fit', 'squash']) == 0
    before, after = read(model), read(new)
    assert after.temperatures != before.temperatures
    assert (len(after.resolutions), after.half, after.labels) == (1, False, before.labels)
    assert (before.preprocessing.fit, after.preprocessing.fit) == ('crop', 'squash')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--split', 'tset'], "no split 'tset'"),
        (['--budgets', 'never'], 'neither a distribution'),
        (['--checkpoint', 'nowhere'], 'nowhere'),
        (['--costs', 'money'], "write 'macs'"),
        (['--resolutions', '48'], 'which is its largest'),
        (['--resolutions', 'all'], 'write sides in pixels'),
        (['--half'], '--half says how --write'),
        (['--budgets', 'SECONDS'], 'write --costs measured'),
    ],
)
def test_what_cannot_be_evaluated_is_said(
    options: list[str], message: str, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model = checkpoint(tmp_path / 'model.safetensors')
    seconds = tmp_path / 'robot.yaml'
    seconds.write_text('about: {unit: s}\ndistribution: empirical\nsamples: [0.1]\n')
    options = [str(seconds) if each == 'SECONDS' else each for each in options]
    given = ['--checkpoint', str(model), '--data', str(shapes), '--split', 'validation', *options]
    assert main(given) == 2
    assert message in capsys.readouterr().err


def test_other_labels_are_refused(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = checkpoint(tmp_path / 'model.safetensors')
    data = tmp_path / 'data'
    for label, other in (('disc', 'disc'), ('ring', 'ring'), ('square', 'cube')):
        (data / 'test').mkdir(parents=True, exist_ok=True)
        (data / 'test' / other).symlink_to(shapes / 'validation' / label)
    assert main(['--checkpoint', str(model), '--data', str(data)]) == 2
    assert 'differ in their classes: cube, square' in capsys.readouterr().err


def test_code_that_only_the_file_names_is_not_run(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from training.model.small_backbones import SmallResNet

    model = checkpoint(tmp_path / 'model.safetensors')
    torch.manual_seed(0)
    network = build(
        NetworkOptions(module='training.model.small_backbones.SmallResNet', module_options=OPTIONS, exits=3),
        classes=3,
        image_size=(32, 32),
    )
    about = {'network': {'module': 'elsewhere.Net', 'module_options': OPTIONS}}
    save(
        network,
        model,
        labels=['disc', 'ring', 'square'],
        preprocessing=Preprocessing(32, 32),
        provenance=about,
    )
    given = ['--checkpoint', str(model), '--data', str(shapes), '--split', 'validation']
    assert main(given) == 2
    assert 'write --module package.module.Class' in capsys.readouterr().err
    assert main([*given, '--module', f'{SmallResNet.__module__}.SmallResNet']) == 0


def test_a_gpu_that_is_not_there_is_refused(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    model = checkpoint(tmp_path / 'model.safetensors')
    command = ['--checkpoint', str(model), '--data', str(shapes), '--split', 'validation']
    assert main([*command, '--device', 'cuda']) == 2
    assert 'write cpu or auto' in capsys.readouterr().err
