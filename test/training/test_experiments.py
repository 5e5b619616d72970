"""training.experiments: what is run, in which order, and what the table of it says."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from training.experiment_plans import SEVERAL, Run, path_plan, placing_epochs, plan
from training.experiments import Experiment, main, run_all
from training.placement.estimate import views_for
from training.reporting.experiment_table import DISTRIBUTIONS, load_runs, markdown, summary

ROOT = Path(__file__).resolve().parents[2]


def evaluation(accuracies: list[float], expected: float, trained: list[int] | None = None) -> dict[str, Any]:
    return {
        'exits': [
            {
                'accuracy': a,
                'ece': 0.01 * (t + 1),
                'macs': 1e6 * (t + 1),
                'cost': 1e6 * (t + 1),
                'trained': trained is None or t in trained,
            }
            for t, a in enumerate(accuracies)
        ],
        'expected_accuracy': dict.fromkeys(DISTRIBUTIONS, expected),
        'exit_share': {name: [0.1, 0.3, 0.6] for name in DISTRIBUTIONS},
        'monotonicity': {'falls': 0.02, 'flips': 0.03},
    }


RUNS = {
    'joint-early-0': evaluation([0.6, 0.7], 0.50),
    'joint-early-1': evaluation([0.6, 0.7], 0.54),
    'uniform-weights-0': evaluation([0.6, 0.7], 0.49),
    'uniform-weights-1': evaluation([0.6, 0.7], 0.52),
    'last-0': evaluation([0.1, 0.72], 0.3, [1]),
    'truncated-1-0': evaluation([0.65, 0.1], 0.3, [0]),
}


def written(folder: Path, runs: dict[str, dict[str, Any]]) -> Path:
    for name, run in runs.items():
        (folder / name).mkdir(parents=True)
        (folder / name / 'part').write_text(json.dumps(run))
        (folder / name / 'part').rename(folder / name / 'evaluation.json')
    return folder


def test_some_runs_have_all_seeds_and_the_others_one() -> None:
    runs = plan(5, (0, 1, 2), 6, placing=2)
    names = [run.name for run in runs]
    assert len({run.folder for run in runs}) == len(runs) == 37
    assert all(names.count(name) == 3 for name in (*SEVERAL, 'half'))
    assert [names.count(f'truncated-{t}') for t in range(1, 6)] == [1, 1, 1, 1, 0]
    later = [run for run in runs if run.name == 'separate' or run.name.startswith('plain-then-joint-')]
    assert len(later) == 8
    assert all(run.after == f'half-{run.seed}' for run in later)


def test_a_plain_network_that_nothing_of_a_seed_begins_from_is_not_trained() -> None:
    assert [run.seed for run in plan(5, (0, 1), 6, ('last',)) if run.name == 'half'] == [0]


@pytest.mark.parametrize(('epochs', 'placing'), [(2, 1), (7, 3), (15, 14)])
def test_all_process_as_many_pictures_with_what_they_began_from(epochs: int, placing: int) -> None:
    runs = {run.folder: run for run in plan(3, (0,), epochs, placing=placing)}

    def processed(run: Run) -> int:
        own = int(run.options[run.options.index('--trainer.max_epochs') + 1])
        if run.name.startswith('placed-'):
            assert run.options[run.options.index('--model.network.cuts') + 1] == 'budgets'
            own += placing
        return own + (processed(runs[run.after]) if run.after else 0)

    assert {name: processed(run) for name, run in runs.items() if name != 'half-0'} == dict.fromkeys(
        set(runs) - {'half-0'}, epochs
    )


def test_exits_are_not_placed_where_the_estimate_would_take_all_there_is() -> None:
    for placing in (5, None):
        names = [run.name for run in plan(3, (0,), 5, placing=placing)]
        assert not [name for name in names if name.startswith('placed-')]


def test_what_placing_takes_is_known_before_anything_is_read(shapes: Path) -> None:
    small = {'model': {'network': {'module': 'a.B'}}, 'trainer': {}}
    pictures = 72  # of the split train: 18 are held out, 54 are learned 30 times, which is the most
    assert placing_epochs(small, str(shapes), []) == math.ceil(30 * 54 / pictures)
    assert placing_epochs(small, str(shapes), ['--data.limit', '30']) == math.ceil(30 * 23 / 30)
    for network in ({'cuts': ['a']}, {'head_share': [0.1, 0.1]}, {'resolutions': [16, 32]}):
        assert placing_epochs({'model': {'network': network}}, str(shapes), []) is None
    assert placing_epochs({'model': {'risk': {'costs': 'profile.json'}}}, str(shapes), []) is None
    assert placing_epochs(small, str(shapes), ['--model.network.cuts', 'budgets']) is None
    assert views_for(10_000, frozen=False) == 24_000
    assert views_for(10_000, frozen=True) == 12_000


def test_one_epoch_cannot_be_halved(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ValueError, match='write 2 or more'):
        plan(3, (0,), 1)
    data = ['--data', str(shapes), '--data.hold_out', '9']
    assert main([*data, '--output', str(tmp_path), '--trainer.max_epochs', '1']) == 2
    assert 'max_epochs is 1' in capsys.readouterr().err


def test_what_a_run_cost_includes_what_it_began_from(tmp_path: Path) -> None:
    def cost(epochs: int, seconds: float) -> dict[str, Any]:
        about = {'epochs': epochs, 'training_pictures': 1000, 'seconds': seconds}
        return {**RUNS['joint-early-0'], 'provenance': about}

    runs = {'half-0': cost(3, 60), 'separate-0': cost(3, 30), 'joint-early-0': cost(6, 120)}
    placed = cost(2, 50)
    placed['provenance']['placement'] = {'about': {'views': 4000, 'seconds': 70.0}}
    runs['placed-early-0'] = placed
    found = summary(load_runs(written(tmp_path, runs), 'evaluation.json'))
    assert found['effort']['placed-early'] == {'epochs': [2], 'pictures': 6000, 'minutes': 2.0}
    assert 'joint, exits placed' in found['expected']['early']
    assert found['effort']['separate'] == {'epochs': [3, 3], 'pictures': 6000, 'minutes': 1.5}
    assert found['effort']['joint-early'] == {'epochs': [6], 'pictures': 6000, 'minutes': 2.0}
    assert '| separate | 3 + 3 | 6,000 | 1.5 |' in markdown(found)


def test_exits_alone_are_trained_for_as_many_pictures_as_three_resolutions() -> None:
    configuration = {'model': {'network': {'resolutions': [16, 20, 24, 32]}}, 'trainer': {'max_epochs': 4}}
    runs = path_plan(configuration, (0, 1, 2))
    assert len({run.folder for run in runs}) == len(runs) == 27
    assert [run.name for run in runs[:4]] == [
        'exits-uniform',
        'resolutions-uniform',
        'both-uniform',
        'exits-early',
    ]
    assert {run.seed for run in runs if not run.name.endswith(('uniform', 'early'))} == {0}
    options = {run.name: ' '.join(run.options) for run in runs}
    assert options['exits-late'].endswith('--model.network.resolutions [] --trainer.max_epochs 12')
    assert options['resolutions-late'].endswith('--model.network.exits 1')
    assert options['both-late'] == '--model.risk.budgets late'


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    found = summary(load_runs(written(tmp_path, RUNS), 'evaluation.json'))
    early = found['expected']['early']
    assert early['joint'] == pytest.approx({'mean': 52.0, 'sd': 2.828, 'seeds': 2}, abs=1e-3)
    difference = found['difference']['early']['uniform weights']
    assert difference == pytest.approx({'mean': 1.5, 'sd': 0.707, 'seeds': 2}, abs=1e-3)
    # Early budgets: 0.65 at a cost of 1 of 2, and 0.72 at 2 of 2; the former is worth more.
    fixed = early['best fixed network']
    assert fixed['seeds'] == 1
    assert found['difference']['early']['best fixed network']['mean'] == pytest.approx(50 - fixed['mean'])
    targets = found['targets']
    assert targets['last exit of uniform weights less the plain network']['mean'] == pytest.approx(-2.0)
    assert targets['exits of uniform weights less truncated networks, mean'] == pytest.approx(-3.5)
    assert targets['largest calibration error of joint runs'] == 0.02
    text = markdown(found)
    assert '| joint | – | – | 52.00 ± 2.83 (2) | – | – |' in text
    assert '| truncated-1 | 65.00 (1) [0.010] | – |' in text


def test_a_table_of_nothing_is_a_table() -> None:
    assert '| joint | – | – | – | – | – |' in markdown(summary({}))


class Fake(Experiment):
    """Records which runs were asked for, and writes an evaluation for each."""

    def run(self, run: Run) -> float:
        done.append(run.folder)
        if run.folder == broken:
            raise RuntimeError(f'{run.folder} failed')
        if run.after:
            assert self.done(run.after)
        written(self.output, {run.folder: RUNS['joint-early-0']})
        return 0.0


done: list[str] = []
broken = ''


def test_what_is_there_is_not_made_again_and_what_needs_another_waits(tmp_path: Path) -> None:
    done.clear()
    runs = plan(3, (0, 1), 4)
    written(tmp_path, {'last-0': RUNS['last-0']})
    experiment = Fake('c', 'd', 'test', tmp_path)
    assert run_all(experiment, runs, 3) == []
    assert sorted(done) == sorted({run.folder for run in runs} - {'last-0'})
    assert (tmp_path / 'table.md').read_text().startswith('Expected accuracy')
    assert run_all(experiment, runs, 3) == []
    assert len(done) == len(runs) - 1


def test_a_run_that_fails_takes_only_those_that_need_it_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done.clear()
    monkeypatch.setattr(sys.modules[__name__], 'broken', 'half-0')
    runs = plan(3, (0, 1), 4)
    assert sorted(run_all(Fake('c', 'd', 'test', tmp_path), runs, 2)) == sorted(
        ['half-0', 'separate-0', *(f'plain-then-joint-{name}-0' for name in DISTRIBUTIONS)]
    )
    assert 'separate-1' in done


def test_data_is_needed_for_more_than_a_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(['--output', str(tmp_path)]) == 2
    assert main(['--output', str(written(tmp_path, RUNS)), '--table-only']) == 0
    captured = capsys.readouterr()
    assert 'write --data' in captured.err
    assert 'paired by seed' in captured.out


@pytest.mark.parametrize('option', [['--trainer.max_epochs', '2'], ['--model.network.exits=2']])
def test_what_differs_between_the_runs_is_the_configurations(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ['--comparison', 'paths', '--data', 'd', '--output', str(tmp_path)]
    assert main([*command, *option]) == 2
    assert f'the runs differ in {option[0]}: write it into --config' in capsys.readouterr().err


@pytest.mark.slow
def test_exits_resolutions_and_both_are_really_made(shapes: Path, tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / 'config' / 'train' / 'smoke.yaml').read_text())
    values['model']['network']['resolutions'] = [16, 32]
    config = tmp_path / 'config.yaml'
    config.write_text(yaml.safe_dump(values))
    command = [sys.executable, '-m', 'training.experiments', '--config', str(config), '--processes', '2']
    command += ['--comparison', 'paths', '--data', str(shapes), '--split', 'validation', '--seeds', '0']
    command += ['--output', str(tmp_path)]
    names = 'exits-early,resolutions-early,both-early'
    done = subprocess.run([*command, '--only', names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / 'table.json').read_text())
    assert set(found['trained for the distribution']['early']) == {'exits', 'resolutions', 'both'}
    paths = {name: [len(run['paths']) for run in runs.values()] for name, runs in found['runs'].items()}
    assert paths == {'exits-early': [3], 'resolutions-early': [2], 'both-early': [6]}
    processed = {row['processed_pictures'] for row in found['effort'].values()}
    assert len(processed) == 1


@pytest.mark.slow
def test_a_plain_network_and_heads_on_it_are_really_made(shapes: Path, tmp_path: Path) -> None:
    command = [sys.executable, '-m', 'training.experiments', '--config', 'config/train/smoke.yaml']
    command += ['--data', str(shapes), '--split', 'validation', '--output', str(tmp_path), '--exits', '3']
    command += ['--seeds', '0', '--only', 'half,separate,truncated-1', '--processes', '2']
    done = subprocess.run([*command, '--trainer.max_epochs', '2'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    costs = re.findall(r'^\| ([a-z-]+-1|separate) \| (2|1 \+ 1) \| ([\d,]+) \|', done.stdout, re.MULTILINE)
    assert {name for name, _, _ in costs} == {'separate', 'truncated-1'}
    assert len({pictures for _, _, pictures in costs}) == 1
    found = json.loads((tmp_path / 'truncated-1-0' / 'evaluation.json').read_text())
    assert [row['trained'] for row in found['exits']] == [True, False, False]
