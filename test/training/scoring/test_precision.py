"""A precision beside single precision on the same pictures."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.checkpoint import Preprocessing, read, save
from impatient_ros.runtime import RuntimeUnavailableError
from training.data import labelled_pictures
from training.evaluate import main
from training.model.networks import NetworkOptions, build
from training.scoring import precision as module
from training.scoring.exit_scores import Evaluation
from training.scoring.precision import compared, paired_drop

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    name, options = 'training.model.small_backbones.SmallResNet', {'widths': [4, 8], 'blocks': 1}
    wanted = NetworkOptions(module=name, module_options=options, exits=3)
    save(
        build(wanted, classes=3, image_size=(32, 32)),
        tmp_path / 'model.safetensors',
        labels=['disc', 'ring', 'square'],
        preprocessing=Preprocessing(32, 32),
        accuracies=[0.4, 0.6, 0.5],
        provenance={'network': {'module': name, 'module_options': options}},
    )
    return tmp_path / 'model.safetensors'


def answers(right: int, lost: int = 0, gained: int = 0, wrong: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Right or not, in single precision and in another: that many of each kind."""
    kinds = [(True, True)] * right + [(True, False)] * lost + [(False, True)] * gained
    single, other = zip(*kinds, *[(False, False)] * wrong, strict=True)
    return torch.tensor(single), torch.tensor(other)


def test_the_interval_is_that_of_agresti_and_min() -> None:
    drop = paired_drop(*answers(right=800, lost=30, gained=10, wrong=160))
    assert drop.mean == pytest.approx(0.02)
    # (30 - 10) / 1002, and 1.96 times sqrt(41 - 20^2 / 1002) / 1002
    assert drop.low == pytest.approx(0.019960 - 0.012464, abs=2e-6)
    assert drop.high == pytest.approx(0.019960 + 0.012464, abs=2e-6)


@pytest.mark.parametrize(('pictures', 'kept'), [(1000, True), (300, False)])
def test_where_all_answers_agree_few_pictures_show_little(pictures: int, kept: bool) -> None:
    drop = paired_drop(*answers(right=pictures))
    assert drop.mean == 0.0
    assert (drop.high <= 0.005) == kept


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_gained_and_lost_mirror_each_other(right: int, lost: int, gained: int, wrong: int) -> None:
    one = paired_drop(*answers(right, lost, gained, wrong))
    other = paired_drop(*answers(right, gained, lost, wrong))
    assert -1 <= one.low <= one.mean <= one.high <= 1
    assert one.mean == -other.mean
    assert one.low == pytest.approx(-other.high)


def test_a_record_compares_exit_by_exit() -> None:
    target = torch.tensor([0, 1, 1, 0])
    good, bad = torch.tensor([[3.0, 0.0], [0.0, 3.0], [0.0, 3.0], [3.0, 0.0]]), torch.zeros(4, 2)
    record = compared([Evaluation((good, bad), target)], [Evaluation((good, good), target)], 'here')
    assert (record.pictures, record.measured) == (4, 'here')
    assert record.accuracies == ((1.0, 1.0),)
    assert [drop.mean for drop in record.drops[0]] == [0.0, -0.5]


class Emulated:
    """A runtime's stand-in for a precision that the machine of these tests may not have: it is rounded."""

    def __init__(self, runtime, precision):
        self._runtime = runtime
        self.name, self.exits, self.precision = runtime.name, runtime.exits, precision

    def describe(self):
        return {**self._runtime.describe(), 'precision': self.precision}

    def begin(self, picture, preprocessing):
        run = self._runtime.begin(picture, preprocessing)
        return SimpleNamespace(stage=run.stage, exit=lambda: np.round(run.exit(), 1))


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.select_runtime

    def select(source, runtime, device, *, threads, precision):
        made = real(source, 'openvino', device, threads=threads, precision='f32')
        return made if precision == 'f32' else Emulated(made, precision)

    monkeypatch.setattr(module, 'select_runtime', select)


@pytest.mark.usefixtures('emulated')
def test_the_command_adds_a_record_and_nothing_else(
    shapes: Path, model: Path, tmp_path: Path, capsys
) -> None:
    new, out = tmp_path / 'new.safetensors', tmp_path / 'out.json'
    command = ['--checkpoint', str(model), '--data', str(shapes), '--split', 'validation', '--device', 'cpu']
    assert main([*command, '--precision', 'bf16', '--write', str(new), '--json', str(out)]) == 0
    found, before, after = json.loads(out.read_text()), read(model), read(new)
    record = after.precisions['bf16']
    assert record.to_dict().items() <= found.items()
    assert record.pictures == len(labelled_pictures.read(shapes, 'validation')) == 30
    assert 'validation, 30 pictures, openvino on' in record.measured
    assert not record.accuracy_kept, 'these are too few pictures to say so'
    assert after.accuracies == before.accuracies
    assert after.at_precision('bf16').accuracies == record.accuracies[0]
    said = capsys.readouterr().out
    assert 'is not shown to be kept' in said
    assert said.count('32 px, exit') == 3
    # What is measured anew leaves what was known of the precision, since the weights are the same.
    again = tmp_path / 'again.safetensors'
    assert main(['--checkpoint', str(new), *command[2:], '--write', str(again)]) == 0
    assert read(again).precisions == after.precisions


def test_what_this_machine_does_not_compute_is_refused(
    shapes: Path, model: Path, monkeypatch, capsys
) -> None:
    def refuse(*_, **options):
        raise RuntimeUnavailableError(f'precision {options["precision"]!r} is not computed natively here')

    command = ['--checkpoint', str(model), '--data', str(shapes), '--split', 'validation']
    monkeypatch.setattr(module, 'select_runtime', refuse)
    assert main([*command, '--precision', 'f16']) == 2
    assert "precision 'f16' is not computed natively here" in capsys.readouterr().err
    assert main([*command, '--precision', 'f16', '--half']) == 2
    assert 'leave out --half' in capsys.readouterr().err
