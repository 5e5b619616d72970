"""python -m training.train with method distil: what learns from the full path's answers, and what stays."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from impatient_ros.checkpoint import Checkpoint, Preprocessing, load, save
from impatient_ros.network import ImpatientNetwork
from training.data.unlabelled_pictures import read_unlabelled
from training.evaluate import main as evaluation
from training.scoring.calibration import fit_temperature
from training.scoring.exit_scores import Evaluation, evaluate
from training.train import main

SIDE = 32
LABELS = ('cat', 'dog', 'cow')
TEMPERATURE = 1.7  # of the full path, as the checkpoint to start from says
PREPROCESSING = Preprocessing(SIDE, SIDE)
HELD_OUT = 20

pytestmark = pytest.mark.usefixtures('one_thread')


def pictures(shapes: Path) -> Path:
    return shapes / 'train'  # their folders' names are no labels here


def full_path(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """All tensors that the answer of the last exit depends on, by their names in the plain classifier."""
    own = ('stages.', f'exits.{len(checkpoint.network.exits) - 1}.')
    state = checkpoint.network.state_dict()
    return {name.split('.', 2)[2]: tensor for name, tensor in state.items() if name.startswith(own)}


def start_from(shapes: Path, path: Path, exits: int = 3, head_kind: str = 'own') -> Path:
    """A network that answers differently for different pictures, without having been trained."""
    torch.manual_seed(0)
    network = ImpatientNetwork.from_torchvision(
        'shufflenet_v2_x0_5', exits, len(LABELS), image_size=SIDE, head_kind=head_kind
    )
    seen, _ = read_unlabelled(pictures(shapes), LABELS, shorter_side=SIDE)
    x = torch.from_numpy(PREPROCESSING.batch(seen.load(range(len(seen)))))
    with torch.no_grad():
        for _ in range(30):
            network(x)  # its norms see pictures
        logits = network.eval()(x)[-1]
        final = [layer for layer in network.exits[-1].modules() if isinstance(layer, torch.nn.Linear)][-1]
        final.weight *= 2 / logits.std(0).mean()
        final.bias -= network(x)[-1].mean(0)
    temperatures = (*(1.0 for _ in range(exits - 1)), TEMPERATURE)
    save(network, path, labels=LABELS, preprocessing=PREPROCESSING, temperatures=temperatures)
    return path


def command(shapes: Path, output: Path, *more: str) -> list[str]:
    source = ['--data.source', str(pictures(shapes)), '--data.hold_out', str(HELD_OUT)]
    short = ['--trainer.max_epochs', '1', '--trainer.accelerator', 'cpu', '--data.batch_size', '16']
    return ['fit', *source, '--output', str(output), *short, '--metrics', 'none', *more]


def distil(shapes: Path, output: Path, start: Path, *more: str) -> Checkpoint:
    method = ['--model.risk.method', 'distil', '--model.network.start', str(start)]
    assert main(command(shapes, output, *method, *more)) == 0
    return load(output / 'model.safetensors')


@pytest.fixture(scope='module')
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of three exits, in which the checkpoint `start.safetensors` is, too."""
    folder = tmp_path_factory.mktemp('run')
    start = start_from(shapes, folder / 'start.safetensors')
    distil(shapes, folder, start, '--model.network.exits', '3')
    return folder


def scores(shapes: Path, checkpoint: Checkpoint, side: int = SIDE) -> Evaluation:
    """Those of the pictures that were held out."""
    _, held = read_unlabelled(pictures(shapes), LABELS, shorter_side=round(1.25 * SIDE), hold_out=HELD_OUT)
    return evaluate(checkpoint.network.at(side), held, PREPROCESSING.at(side))


def check_what_learnt(before: Checkpoint, after: Checkpoint, shared: frozenset[str]) -> None:
    kept, now = full_path(before), full_path(after)
    assert kept.keys() == now.keys()
    assert all(torch.equal(kept[name], now[name]) for name in kept)
    for exit_before, exit_after in zip(before.network.exits[:-1], after.network.exits[:-1], strict=True):
        old, new = exit_before.state_dict(), exit_after.state_dict()
        assert {name for name in old if not torch.equal(old[name], new[name])} == old.keys() - shared


def test_heads_learn_and_the_full_path_stays_to_the_last_bit(run: Path) -> None:
    check_what_learnt(load(run / 'start.safetensors'), load(run / 'model.safetensors'), frozenset())


def test_heads_that_share_the_final_layer_learn_and_leave_it_alone(shapes: Path, tmp_path: Path) -> None:
    start = start_from(shapes, tmp_path / 'start.safetensors', head_kind='shared')
    kind = ['--model.network.exits', '3', '--model.network.head_kind', 'shared']
    after = distil(shapes, tmp_path, start, *kind)
    check_what_learnt(load(start), after, frozenset({'classify.weight', 'classify.bias'}))


def test_the_backbone_may_learn_from_its_former_answers_and_agreement_is_with_these(
    shapes: Path, tmp_path: Path
) -> None:
    start = start_from(shapes, tmp_path / 'start.safetensors')
    more = ['--model.risk.train_backbone', 'true', '--model.optimiser.learning_rate', '0.01']
    once = distil(shapes, tmp_path / 'once', start, *more, '--model.network.exits', '3')
    kept, now = full_path(load(start)), full_path(once)
    assert not all(torch.equal(kept[name], now[name]) for name in kept)
    taught = scores(shapes, load(start)).logits[-1].argmax(1)
    # Resumed, the teacher is still the network as it was given.
    resumed = distil(
        shapes, tmp_path / 'once', start, *more, '--model.network.exits', '3', '--trainer.max_epochs', '2'
    )
    for after in (once, resumed):
        found = scores(shapes, after).logits
        agreement = [float((z.argmax(1) == taught).double().mean()) for z in found]
        assert after.accuracies == pytest.approx(agreement)
        assert agreement[-1] < 1
        assert 'with the full path of the network that it began from' in after.provenance['accuracy']


def test_the_checkpoint_to_start_from_says_all_there_is_to_say(shapes: Path, tmp_path: Path) -> None:
    start = start_from(shapes, tmp_path / 'plain.safetensors', exits=1)
    after = distil(shapes, tmp_path, start)
    assert after.config['backbone']['name'] == 'shufflenet_v2_x0_5'
    assert len(after.network.exits) == 5
    assert after.labels == LABELS
    assert after.preprocessing == PREPROCESSING
    kept, now = full_path(load(start)), full_path(after)
    assert kept.keys() == now.keys()
    assert all(torch.equal(kept[name], now[name]) for name in kept)


def test_what_is_measured_is_agreement_with_the_full_path(shapes: Path, run: Path) -> None:
    after = load(run / 'model.safetensors')
    found = scores(shapes, after)
    answers = found.logits[-1].argmax(1)
    assert len(answers.unique()) == 3
    agreement = tuple(float((z.argmax(1) == answers).double().mean()) for z in found.logits)
    assert after.accuracies == agreement
    assert after.accuracies_measured
    assert agreement[-1] == 1
    assert agreement[0] < 1
    with open(run / 'curve.csv', encoding='utf-8') as file:
        [row] = csv.DictReader(file)
    assert [float(row[f'accuracy_{t}']) for t in (1, 2, 3)] == pytest.approx(agreement)
    about = after.provenance
    assert about['relative'] is True
    assert about['method'] == 'distil'
    assert about['accuracy'].startswith('pictures without labels, 20 pictures')
    assert 'agreement with the full path' in about['accuracy']
    assert about['training_pictures'] == 72 - HELD_OUT


def test_the_same_pictures_evaluated_afterwards_agree_as_often(
    shapes: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = ['--data', str(pictures(shapes)), '--unlabelled', '--hold-out', str(HELD_OUT)]
    after, out = str(run / 'model.safetensors'), tmp_path / 'after.json'
    assert evaluation(['--checkpoint', after, *held, '--json', str(out)]) == 0
    found = json.loads(out.read_text())
    assert [row['accuracy'] for row in found['exits']] == pytest.approx(load(after).accuracies)
    assert found['exits'][-1]['accuracy'] == 1
    assert (found['relative'], found['pictures'], found['split']) == (True, HELD_OUT, 'held out')
    assert found['chosen_on_halves']  # these pictures are those that the checkpoint knows
    named = scores(shapes, load(after)).logits[-1].argmax(1).bincount(minlength=len(LABELS))
    assert found['commonest']['label'] == LABELS[int(named.argmax())]
    assert found['commonest']['share'] == pytest.approx(int(named.max()) / HELD_OUT)
    assert f'alone would be right on {100 * found["commonest"]["share"]:.1f}%' in capsys.readouterr().out
    # Right is what another network answers, where one is named.
    other = tmp_path / 'other.safetensors'
    network = load(after).network
    with torch.no_grad():
        final = [layer for layer in network.exits[-1].modules() if isinstance(layer, torch.nn.Linear)][-1]
        final.bias[0] += 100  # it names nothing but the first class
    save(network, other, labels=LABELS, preprocessing=PREPROCESSING)
    assert evaluation(['--checkpoint', after, *held, '--teacher', str(other), '--json', str(out)]) == 0
    answers = scores(shapes, load(after)).logits
    first = [float((logits.argmax(1) == 0).double().mean()) for logits in answers]
    assert [row['accuracy'] for row in json.loads(out.read_text())['exits']] == pytest.approx(first)


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (['--unlabelled', '--write', 'new.safetensors'], '--write wants labelled pictures'),
        (['--teacher', 'other.safetensors'], 'write --unlabelled, too'),
        (['--hold-out', '3'], 'write --unlabelled, too'),
        (['--limit', '3'], 'write --unlabelled, too'),
        (['--unlabelled', '--limit', '0'], 'how many pictures were learned from'),
        (['--unlabelled', '--precision', 'int8'], 'leave out --half'),
        (['--unlabelled', '--hold-out', '-3'], 'how many pictures count'),
        (['--unlabelled', '--hold-out', '1000'], 'a smaller data.hold_out'),
    ],
)
def test_what_pictures_without_labels_cannot_be_evaluated_for(
    shapes: Path, run: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ['--checkpoint', str(run / 'model.safetensors'), '--data', str(pictures(shapes))]
    assert evaluation([*given, *more]) == 2
    assert said in capsys.readouterr().err


def test_temperatures_are_fitted_to_the_probabilities_of_the_full_path(shapes: Path, run: Path) -> None:
    after = load(run / 'model.safetensors')
    found = scores(shapes, after)
    soft = (found.logits[-1].double() / TEMPERATURE).softmax(1)
    assert after.temperatures == pytest.approx([fit_temperature(z, soft) for z in found.logits], rel=1e-3)
    assert after.temperatures[-1] == pytest.approx(TEMPERATURE, rel=1e-2)


def test_smaller_resolutions_learn_with_tensors_of_their_own(shapes: Path, tmp_path: Path) -> None:
    start = start_from(shapes, tmp_path / 'start.safetensors', exits=1)
    several = ['--model.network.exits', '1', '--model.network.resolutions', '[24, 32]']
    after = distil(shapes, tmp_path, start, *several, '--model.network.private', '[affine, depthwise]')
    kept, now = full_path(load(start)), full_path(after)
    assert all(torch.equal(kept[name], now[name]) for name in kept)
    own = {n: p for n, p in after.network.state_dict().items() if n.startswith('private.24.')}
    shared = after.network.state_dict()
    moved = [
        not torch.equal(p, shared[n.removeprefix('private.24.').replace('/', '.')]) for n, p in own.items()
    ]
    assert len(moved) > 50
    assert all(moved)
    answers = scores(shapes, after).logits[-1].argmax(1)
    small = scores(shapes, after, 24).logits[-1].argmax(1)
    assert [each.accuracies for each in after.resolutions] == [
        (float((small == answers).double().mean()),), (1.0,),
    ]  # fmt: skip
    assert 'method distil' not in after.provenance['accuracy']


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the command ends."""
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('train: ')
    assert '\n' not in error
    return error


DISTIL = ['--model.risk.method', 'distil']


@pytest.mark.parametrize(
    'more',
    [
        ['--model.network.backbone', 'shufflenet_v2_x0_5'],
        ['--model.network.backbone', 'shufflenet_v2_x0_5', '--model.network.weights', 'DEFAULT'],
        [],
    ],
    ids=['a fresh backbone', 'weights', 'nothing'],
)
def test_without_a_checkpoint_to_start_from_nobody_answers(
    more: list[str], shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refused(command(shapes, tmp_path, *DISTIL, *more), capsys)
    assert 'model.network.start' in error
    assert 'model.network.weights' not in error  # with them alone it is refused, too


def test_pictures_without_labels_are_for_method_distil_alone(
    shapes: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = run / 'start.safetensors'
    own = ['--model.network.start', str(start), '--data.labels_from', str(start)]
    assert 'model.risk.method distil' in refused(command(shapes, tmp_path, *own), capsys)


@pytest.mark.parametrize(
    'private', [[], ['--model.network.private', '[statistics]', '--model.network.resolutions', '[24, 32]']]
)
def test_where_nothing_can_learn_that_is_said(
    private: list[str], shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = start_from(shapes, tmp_path / 'start.safetensors', exits=1)
    own = [*DISTIL, '--model.network.start', str(start), '--model.network.exits', '1', *private]
    assert 'nothing to learn' in refused(command(shapes, tmp_path, *own), capsys)


def test_too_few_pictures_end_the_command(
    shapes: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = run / 'start.safetensors'
    own = [*DISTIL, '--model.network.start', str(start), '--data.hold_out', '72']
    assert main(command(shapes, tmp_path, *own)) == 2  # after the summary: a source is counted as it is read
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith('train: ')
    assert '72 readable pictures' in last
