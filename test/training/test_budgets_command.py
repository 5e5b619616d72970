"""python -m training.budgets: from a recording of frame_status to a distribution and what it calls for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from recorded_bag import bag, drive

from impatient_ros.budgets import Empirical
from impatient_ros.checkpoint import save
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.perception.frame_record import FrameRecord, Outcome
from training.budgets import main, subsampled
from training.model.networks import NetworkOptions, build
from training.recorded.frames import read_bag
from training.recorded.load_model import real_shares
from training.recorded.text import histogram
from training.risk.expected_accuracy import chosen_share, distribution_of
from training.risk.options import RiskOptions
from training.risk.path_weights import BudgetedPaths

RECORDS = [
    *(FrameRecord('front', i, Outcome.answered, budget=0.010 + 0.001 * i, exits=3) for i in range(40)),
    FrameRecord('front', 50, Outcome.infeasible, budget=-0.002, exits=3),
    FrameRecord('front', 51, Outcome.superseded),
    *(FrameRecord('rear', 60 + i, Outcome.missed, budget=0.2, exits=3) for i in range(3)),
]
SIDES = (16, 24, 32)
COSTS = (0.004, 0.009, 0.016)
ACCURACIES = (0.5, 0.6, 0.9)
OPTIONS = NetworkOptions(
    module='training.model.small_backbones.SmallResNet',
    module_options={'widths': [4, 8], 'blocks': 1},
    exits=1,
)


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of one exit at three resolutions."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp('model') / 'model.safetensors'
    save(
        build(OPTIONS, classes=2, image_size=(32, 32)),
        file,
        labels=['a', 'b'],
        preprocessing=Preprocessing(32, 32),
        resolutions=SIDES,
        accuracies=[[a] for a in ACCURACIES],
        temperatures=[[1.0]] * 3,
        provenance={'network': OPTIONS.described(), 'budgets': 'none'},
    )
    return file


@pytest.fixture(autouse=True)
def costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('training.budgets.path_costs', lambda *given: COSTS)


def test_a_real_bag_becomes_weights_that_hold_for_its_second_half_and_another_load(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    paths = [(side, 0) for side in SIDES]
    robot = {'paths': paths, 'costs': COSTS, 'overhead': 0.002, 'spread': 0.1}
    quiet = bag(tmp_path / 'quiet', drive(2000, **robot, slowdown=1.2))  # type: ignore[arg-type]
    busy = bag(tmp_path / 'busy', drive(2000, **robot, slowdown=1.5, seed=1))  # type: ignore[arg-type]
    file, findings = tmp_path / 'robot.yaml', tmp_path / 'robot.json'
    given = [str(quiet), '--judge', str(busy), '--checkpoint', str(model), '-o', str(file)]
    assert main([*given, '--json', str(findings), '--columns', '80']) == 0
    shown = capsys.readouterr().out
    found = json.loads(findings.read_text())
    half, other = found['judged']
    assert half['worst'] < 0.02
    assert other['worst'] < 0.04
    assert min(half['worst_budgets_alone'], other['worst_budgets_alone']) > 0.1
    for judged in found['judged']:
        assert sum(judged['predicted']) == pytest.approx(1)
    assert half['real'] == pytest.approx(real_shares(read_bag(quiet).halves()[1], paths).tolist())
    assert f'busy, 2000 frames: at most {100 * other["worst"]:.1f} points off' in shown
    assert 'Other exits or resolutions' in shown

    # The file brings training the shares that were found.
    distribution, unit = distribution_of(str(file), 1.0)
    assert unit == 's'
    share = chosen_share(distribution, found['costs'], ACCURACIES)
    np.testing.assert_allclose(share, real_shares(read_bag(quiet), paths), atol=0.02)
    np.testing.assert_allclose(share, found['share'], atol=2e-3)
    network = build(OPTIONS, classes=2, image_size=(32, 32))
    options = RiskOptions(budgets=str(file), costs=found['costs'])
    weights = BudgetedPaths.of([network.at(16), network.at(24), network], options).chosen_share(ACCURACIES)
    np.testing.assert_allclose(weights, share)
    with pytest.raises(ValueError, match=r'leave out model\.risk\.overhead'):
        BudgetedPaths.of(
            [network.at(16), network], RiskOptions(budgets=str(file), costs=[0.1, 0.2], overhead=0.1)
        )


def test_of_few_frames_no_overhead_is_fitted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path, out = bag(tmp_path / 'drive', RECORDS), tmp_path / 'robot.yaml'
    assert main([str(path), '-o', str(out), '--checkpoint', str(model), '--columns', '60']) == 0
    shown = capsys.readouterr().out
    assert 'cannot be fitted: 4 frames of which it is known' in ' '.join(shown.split())
    assert '<- 16 px' in shown
    distribution, _ = distribution_of(str(out), 1.0)
    budgets = Empirical(read_bag(path).budgets)
    for cost in COSTS:
        assert distribution.below(cost) == pytest.approx(budgets.below(cost))


def test_what_fits_is_kept_where_it_cannot_be_judged(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    robot = {'paths': [(side, 0) for side in SIDES], 'costs': COSTS, 'overhead': 0.002, 'spread': 0.1}
    short = bag(tmp_path / 'short', drive(180, **robot))  # type: ignore[arg-type]
    out = tmp_path / 'robot.yaml'
    given = [str(short), '-o', str(out), '--checkpoint', str(model)]
    assert main(given) == 0
    shown = ' '.join(capsys.readouterr().out.split())
    assert 'How well that fits other frames cannot be judged' in shown
    assert 'cannot be fitted' not in shown
    assert yaml.safe_load(out.read_text())['about']['overhead'] == pytest.approx(0.002, abs=0.0015)
    other = bag(tmp_path / 'other', [FrameRecord('front', 0, Outcome.answered, exit_index=4, budget=0.1)])
    out.unlink()
    assert main([*given, '--judge', str(other)]) == 2
    assert 'exit 5, which the checkpoint does not have: give the one that ran' in capsys.readouterr().err
    assert not out.exists()


def test_without_a_checkpoint_the_file_has_the_budgets_as_they_were(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path, out = bag(tmp_path / 'drive', RECORDS), tmp_path / 'robot.yaml'
    assert main([str(path), '-o', str(out)]) == 0
    distribution, unit = distribution_of(str(out), 1.0)
    assert unit == 's'
    np.testing.assert_allclose(distribution.samples, sorted(read_bag(path).budgets))  # type: ignore[attr-defined]
    assert yaml.safe_load(out.read_text())['about']['cameras'] == ['front', 'rear']
    shown = capsys.readouterr().out
    assert '44 budgets of front, rear' in shown
    assert 'not counted' in shown


@pytest.mark.parametrize('columns', [10, 80, 500])
def test_the_text_keeps_to_60_to_200_columns(
    columns: int, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    robot = {'paths': [(side, 0) for side in SIDES], 'costs': COSTS, 'overhead': 0.002, 'spread': 0.1}
    path = bag(tmp_path / 'drive', drive(400, **robot))  # type: ignore[arg-type]
    given = [str(path), '--checkpoint', str(model), '-o', str(tmp_path / 'r.yaml'), '--columns', str(columns)]
    assert main(given) == 0
    lines = capsys.readouterr().out.splitlines()[:-1]  # the last one names a file
    assert max(map(len, lines)) <= max(60, min(200, columns))
    assert sum('#' in line for line in lines) > 10


def test_many_budgets_are_thinned_to_the_same_distribution() -> None:
    budgets = np.random.default_rng(0).gamma(2.0, 0.02, 50_000)
    few, all_of_them = Empirical(subsampled(budgets)), Empirical(budgets)
    assert len(few.samples) == 1000
    for cost in (0.01, 0.03, 0.05, 0.1):
        assert few.below(cost) == pytest.approx(all_of_them.below(cost), abs=2e-3)
    assert subsampled((0.3, 0.1)) == (0.1, 0.3)


def test_a_histogram_of_equal_budgets_has_one_bar() -> None:
    assert histogram([0.1] * 5, {}, 80).count('100.0%') == 1
    assert '#' in histogram([0.0, 0.0], {}, 80)
    assert 'x: costs more than every budget' in histogram([0.1], {'x': 0.2}, 80)


def test_what_holds_no_budgets_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = bag(tmp_path / 'drive', RECORDS[:3])
    assert main([str(path), '--camera', 'left', '-o', str(tmp_path / 'out')]) == 2
    assert "no frame_status of camera 'left' with a budget" in capsys.readouterr().err
    assert main([str(tmp_path / 'nowhere')]) == 2
    assert 'there is no such bag' in capsys.readouterr().err
    (tmp_path / 'torn.mcap').write_bytes((next(path.glob('*.mcap'))).read_bytes()[:200])
    assert main([str(tmp_path / 'torn.mcap')]) == 2
    assert 'cannot be read as a bag' in capsys.readouterr().err
