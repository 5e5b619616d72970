"""The benchmark's own arithmetic, and the node's miss rate in simulation on recorded traces."""

import json
import sys
from functools import cache
from pathlib import Path

import deadlines
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from simulation import fused_frame

from deadline.cameras import simulated
from deadline.files import frames_path, read_frames
from deadline.frame import Frame, budgets, hindsight
from deadline.load import LOADS, Schedule, stretch
from deadline.policies import POLICIES, _RunningMean
from deadline.replay import replay
from deadline.report import fill
from deadline.summary import in_phase, summarise, wilson
from deadline.trace import Trace
from impatient_ros.checkpoint import read as read_checkpoint
from impatient_ros.planning.planners import Planners

TRACES = {path.stem: path for path in deadlines.TRACES.glob('*.npz')}
LADDER = ('default-none', 'default-step')  # several resolutions of one exit
WITH_EXITS = sorted(set(TRACES) - set(LADDER))
KEYS = {
    'model', 'policy', 'load', 'frames', 'feasible', 'miss_rate', 'overrun_rate', 'expected_accuracy',
    'hindsight_accuracy', 'deeper_fits_rate', 'decision_p99_us', 'slack_p50_ms', 'slack_p01_ms', 'default',
}  # fmt: skip


@cache
def trace(name):
    return Trace.load(TRACES[name])


@cache
def cell(name, policy, frames=None):
    replayed = trace(name)
    model = replayed.description['model']
    return summarise(replay(replayed, policy, frames=frames), {model: replayed.accuracies})[0]


def test_there_is_a_trace_for_every_model_and_load_and_it_is_small():
    with_exits = {f'{model}-{load}' for model in ('clothing10', 'resnet18') for load in LOADS}
    assert set(WITH_EXITS) == with_exits
    assert set(TRACES) == with_exits | set(LADDER)
    for name, path in TRACES.items():
        assert path.stat().st_size < 300_000
        assert len(trace(name)) >= (250 if name in LADDER else 900)
        assert trace(name).description['processor']


def test_a_trace_of_several_resolutions_is_stored_as_it_is(tmp_path):
    found = trace('default-none')
    assert len(found.sides) == len(found.profiles) == found.stages.shape[1] == 8
    found.save(tmp_path / 'again.npz')
    again = Trace.load(tmp_path / 'again.npz')
    for name in ('preparation', 'stages', 'heads', 'phase', 'loaded'):
        assert np.array_equal(getattr(again, name), getattr(found, name))
    for one, other in zip(again.profiles, found.profiles, strict=True):
        assert one.costs('contract', 0.99) == pytest.approx(other.costs('contract', 0.99))
    assert (again.sides, again.accuracies) == (found.sides, found.accuracies)
    assert again.description == found.description


def test_its_accuracies_are_those_that_ship_with_the_model():
    resolutions = read_checkpoint(deadlines.TRACES.parents[2] / 'models' / 'imagenet.safetensors').resolutions
    for name in LADDER:
        assert trace(name).accuracies == tuple(a for each in resolutions for a in each.accuracies)


def test_traces_of_before_there_were_several_resolutions_read_as_one():
    found = trace('resnet18-none')
    assert found.sides == (1,)
    assert found.stages.shape == found.heads.shape == (len(found), 1, 5)
    assert found.preparation.shape == (len(found), 1)


class TestTheDefaultModeOnTraces:
    @pytest.mark.parametrize('name', WITH_EXITS)
    def test_misses_are_rare(self, name):
        found = cell(name, 'adaptive')
        limit = 0.005 if found['load'] == 'none' else 0.015
        assert found['settled_miss_rate'] <= limit

    @pytest.mark.parametrize('name', sorted(TRACES))
    def test_protected_exits_overrun_as_often_as_allowed(self, name):
        # A trace is no long run: the interval of what it shows must meet what is allowed.
        found = cell(name, 'adaptive')
        assert found['settled_overrun_rate_low'] <= 0.015
        assert found['settled_overrun_rate_high'] >= 0.005

    @pytest.mark.parametrize('name', WITH_EXITS)
    def test_the_time_is_used(self, name):
        found = cell(name, 'adaptive')
        assert found['accuracy_share'] >= (0.97 if found['load'] == 'none' else 0.93)

    @pytest.mark.parametrize('name', sorted(name for name in TRACES if name.startswith('resnet18')))
    @pytest.mark.parametrize('other', ['running_mean', 'static_p99'])
    def test_it_is_ahead_of_the_others_at_no_more_misses(self, name, other):
        ours, theirs = cell(name, 'adaptive'), cell(name, other)
        assert ours['expected_accuracy'] > theirs['expected_accuracy']
        assert ours['miss_rate'] <= theirs['miss_rate']

    # Not in bursts: there the quantiles of a quiet profile leave out little and miss a tenth of the frames.
    @pytest.mark.parametrize('name', ['resnet18-none', 'resnet18-burn', 'resnet18-step'])
    def test_deeper_exits_are_left_out_half_as_often_as_by_static_quantiles(self, name):
        assert cell(name, 'adaptive')['deeper_fits_rate'] <= cell(name, 'static_p99')['deeper_fits_rate'] / 2

    def test_bursts_do_not_freeze_it_at_the_first_exit(self):
        frames = replay(trace('resnet18-burst'), 'adaptive')
        calm = [frame for frame in frames if not frame.loaded and frame.hindsight >= 2]
        assert sum(frame.path >= 2 for frame in calm) > 0.85 * len(calm)

    @pytest.mark.parametrize('name', ['clothing10-step', 'resnet18-step'])
    def test_a_step_in_load_is_followed_within_thirty_frames(self, name):
        frames = replay(trace(name), 'adaptive')
        values = [*trace(name).accuracies, 0.0]
        settled = [f for f, n in zip(frames, in_phase(frames), strict=True) if 10 <= n < 30]
        got, best = (sum(values[getattr(f, what)] for f in settled) for what in ('path', 'hindsight'))
        assert got >= 0.93 * best


class TestTheDefaultModeOnALadderOfResolutions:
    def test_on_a_quiet_machine_misses_are_rare(self):
        assert cell('default-none', 'adaptive')['miss_rate'] <= 0.005

    @pytest.mark.parametrize('name', LADDER)
    @pytest.mark.parametrize('other', ['running_mean', 'static_p99'])
    def test_it_misses_less_than_half_as_many(self, name, other):
        assert cell(name, 'adaptive')['miss_rate'] < cell(name, other)['miss_rate'] / 2

    @pytest.mark.parametrize('name', LADDER)
    @pytest.mark.parametrize('other', ['running_mean', 'fixed_first', 'fixed_last'])
    def test_it_is_ahead_in_accuracy(self, name, other):
        assert cell(name, 'adaptive')['expected_accuracy'] > cell(name, other)['expected_accuracy']

    def test_under_load_it_is_ahead_of_static_quantiles(self):
        ours, theirs = (cell('default-step', policy) for policy in ('adaptive', 'static_p99'))
        assert ours['expected_accuracy'] > theirs['expected_accuracy']


def test_contract_and_interruptible_are_the_same_code_and_miss_rarely_too():
    for mode in ('contract', 'interruptible'):
        found = cell('resnet18-none', mode)
        assert found['miss_rate'] <= 0.01
        assert found['overrun_rate'] == pytest.approx(0.01, abs=0.006)


def test_a_replay_is_deterministic():
    def without_times(frames):
        return [{**frame.to_dict(), 'decisions_us': ()} for frame in frames]

    first, second = (replay(trace('clothing10-burst'), 'adaptive', frames=200) for _ in range(2))
    assert without_times(first) == without_times(second)


def test_hindsight_is_never_beaten_and_never_misses():
    found = cell('clothing10-step', 'hindsight')
    assert found['miss_rate'] == found['deeper_fits_rate'] == 0
    assert found['expected_accuracy'] == found['hindsight_accuracy']
    assert found['overrun_rate'] is None


def test_fixed_policies_do_what_their_names_say():
    assert {f.path for f in replay(trace('clothing10-none'), 'fixed_first', frames=100)} <= {-1, 0}
    assert {f.path for f in replay(trace('clothing10-none'), 'fixed_last', frames=100)} <= {-1, 4}
    assert {f.path for f in replay(trace('default-none'), 'fixed_first', frames=100)} <= {-1, 0}
    assert {f.path for f in replay(trace('default-none'), 'fixed_last', frames=100)} <= {-1, 7}


def test_a_frame_takes_the_time_of_the_resolution_that_answers():
    found = trace('default-none')
    profiles, preparation = found.profiles, np.median(found.preparation, axis=0)
    took = found.preparation[:, 7] + found.stages[:, 7, 0] + found.heads[:, 7, 0]
    frames = replay(found, 'fixed_last', frames=50)
    assert 0 < sum(frame.path == 7 for frame in frames) < 50
    for seconds, frame, budget in zip(took, frames, budgets(profiles, preparation, 50), strict=False):
        assert frame.path == (7 if seconds <= budget else -1)
        assert frame.path < 0 or frame.slack == pytest.approx(budget - seconds, abs=2e-6)


def test_the_modes_and_baselines_use_the_resolutions():
    for policy in ('contract', 'adaptive', 'running_mean', 'static_p99'):
        used = {frame.path for frame in replay(trace('default-none'), policy)} - {-1}
        assert len(used) >= 4, policy


class TestSeveralCameras:
    @pytest.mark.parametrize('name', ['clothing10-none', 'resnet18-none'])
    def test_with_rules_all_are_served_and_without_most_frames_miss(self, name):
        with_rules = simulated(trace(name), 'rules', rounds=200)
        without = simulated(trace(name), 'fifo', rounds=200)
        assert with_rules['miss_rate'] < 0.01
        assert with_rules['answered_worst_camera'] > 0.98
        assert without['miss_rate'] > 0.5
        assert with_rules['expected_accuracy'] > without['expected_accuracy']


class TestArithmetic:
    def frame(self, **values):
        usual = {
            'model': 'm', 'policy': 'adaptive', 'load': 'step', 'index': 0, 'phase': 0, 'loaded': False,
            'budget': 0.1, 'path': 1, 'planned': 1, 'protected': True, 'overrun': False, 'late': False,
            'slack': 0.01, 'hindsight': 1, 'feasible': True, 'decisions_us': (10.0,),
        }  # fmt: skip
        return Frame(**{**usual, **values})

    def test_rates_are_of_the_frames_that_they_are_about(self):
        frames = [self.frame()] * 6 + [
            self.frame(path=-1, protected=True, overrun=True, late=True),  # a miss
            self.frame(path=0, hindsight=1),  # a deeper one would have fitted
            self.frame(path=-1, hindsight=-1, feasible=False, protected=False),
            self.frame(bystanders=1.0, path=-1),  # does not count
        ]
        (found,) = summarise(frames, {'m': (0.5, 0.8)})
        assert set(found) >= KEYS
        assert (found['frames'], found['feasible'], found['disturbed']) == (9, 8, 1)
        assert found['miss_rate'] == pytest.approx(1 / 8, abs=1e-4)
        assert found['overrun_rate'] == pytest.approx(1 / 8, abs=1e-4)
        assert found['deeper_fits_rate'] == pytest.approx(2 / 8, abs=1e-4)
        assert found['expected_accuracy'] == pytest.approx((6 * 0.8 + 0.5) / 9, abs=1e-4)
        assert found['hindsight_accuracy'] == pytest.approx(8 * 0.8 / 9, abs=1e-4)
        assert found['default'] is True
        assert found['miss_rate_with'] == pytest.approx(2 / 9, abs=1e-4)
        assert found['expected_accuracy_with'] == pytest.approx((6 * 0.8 + 0.5) / 10, abs=1e-4)

    def test_the_first_frames_of_a_phase_are_not_settled(self):
        frames = [self.frame(path=-1)] * 30 + [self.frame()] * 30 + [self.frame(phase=1, path=-1)]
        (found,) = summarise(frames, {'m': (0.5, 0.8)})
        assert found['settled_miss_rate'] == 0.0
        assert found['miss_rate'] == pytest.approx(31 / 61, abs=1e-4)

    def test_running_means_learn_from_a_fused_path(self):
        [profile] = profiles = trace('resnet18-none').profiles
        made = Planners(profiles, trace('resnet18-none').accuracies).planner('', 'contract', 0.01)
        planner = _RunningMean(made.options, made.forecast, made.control)
        usual = profile.costs('contract')
        for _ in range(100):
            planner.learn([fused_frame(2 * usual[4], last=4)])
        assert planner.plan(1.9 * usual[4]).target < 4
        assert planner.plan(2.1 * usual[4]).target == 4
        for _ in range(100):
            planner.learn([fused_frame(usual[0], last=0)])
        assert planner.plan(1.1 * usual[0]).target == 0

    def test_phases_of_a_step_hold_enough_rounds_and_are_no_longer_than_need_be(self):
        assert stretch('step', 5, 0.02) == 1.0
        assert stretch('step', 5, 0.15) == pytest.approx(3.0)
        assert stretch('step', 5, 1.0) == 5.0
        assert stretch('burst', 5, 0.02) == 5.0

    @given(st.integers(0, 500), st.integers(1, 500))
    @example(0, 119)
    def test_the_wilson_interval_holds_the_rate(self, hits, more):
        low, high = wilson(hits, hits + more)
        assert 0 <= low <= hits / (hits + more) <= high <= 1

    def test_hindsight_takes_the_most_accurate_exit_that_fits(self):
        cost = {'preparation': [0.001], 'stages': [[0.01, 0.01, 0.01]], 'heads': [[0.001, 0.001, 0.001]]}
        assert hindsight(**cost, accuracies=(0.5, 0.7, 0.6), budget=0.1)[:2] == (1, True)
        assert hindsight(**cost, accuracies=(0.5, 0.7, 0.8), budget=0.0125)[:2] == (0, True)
        assert hindsight(**cost, accuracies=(0.5, 0.7, 0.8), budget=0.0115)[:2] == (-1, False)

    def test_hindsight_takes_the_most_accurate_path_of_all_resolutions(self):
        cost = {
            'preparation': [0.001, 0.002],
            'stages': [[0.01, 0.01], [0.02, 0.02]],
            'heads': [[0.001, 0.001], [0.001, 0.001]],
        }
        accuracies = (0.3, 0.5, 0.6, 0.8)
        assert hindsight(**cost, accuracies=accuracies, budget=0.050)[:2] == (3, True)
        found, _, left = hindsight(**cost, accuracies=accuracies, budget=0.025)
        assert (found, left) == (2, pytest.approx(0.002))
        assert hindsight(**cost, accuracies=accuracies, budget=0.0225)[:2] == (1, True)

    def test_loads_follow_their_schedules(self):
        step = Schedule('step')
        assert [step.at(second) for second in (0.0, 9.9, 10.1, 19.9, 20.1)] == [
            (0, False), (0, False), (1, True), (1, True), (2, False),
        ]  # fmt: skip
        assert Schedule('burn').at(1e6)[:2] == (0, True)
        assert Schedule('none').at(1e6) == (0, False)
        burst, again = Schedule('burst'), Schedule('burst')
        seen = [burst.at(n * 0.01) for n in range(3000)]
        assert seen == [again.at(n * 0.01) for n in range(3000)]
        assert 0.05 < sum(on for _, on in seen) / 3000 < 0.4
        with pytest.raises(ValueError, match='write one of'):
            Schedule('heavy')


class TestCommandLine:
    def test_a_simulation_writes_a_summary_that_can_be_recomputed(self, tmp_path, capsys):
        out, again = tmp_path / 'out.json', tmp_path / 'again.json'
        given = [
            '--simulate',
            str(TRACES['clothing10-step']),
            '--frames',
            '60',
            '--policies',
            'adaptive,fixed_last',
        ]
        assert deadlines.main([*given, '--json', str(out)]) == 0
        summary = json.loads(out.read_text())
        assert [(r['policy'], r['default'], r['frames']) for r in summary] == [
            ('adaptive', True, 60), ('fixed_last', False, 60),
        ]  # fmt: skip
        assert all(set(record) >= KEYS for record in summary)
        frames, _, about = read_frames(frames_path(out))
        assert len(frames) == 120
        assert about['simulated']
        assert deadlines.main(['--recompute', str(frames_path(out)), '--json', str(again)]) == 0
        assert again.read_text() == out.read_text()
        assert 'adaptive *' in capsys.readouterr().out

    def test_the_tables_of_the_results_are_written_from_the_files_beside_them(self, tmp_path):
        figures = {
            'model': 'clothing10', 'threads': 1, 'stage': 'all', 'batch_1_ms': 2.0, 'batch_2_ms': 3.0,
            'batch_4_ms': 5.0, 'saved_by_2': 0.25, 'saved_by_4': 0.375,
        }  # fmt: skip
        (tmp_path / 'batching.json').write_text(json.dumps([figures]))
        text = '<!-- batching -->\nold\n<!-- /batching -->\n\n<!-- live -->\nkept\n<!-- /live -->\n'
        (tmp_path / 'README.md').write_text(text)
        assert fill(tmp_path) == ['batching']
        text = (tmp_path / 'README.md').read_text()
        assert '| clothing10 | 1 | all | 2.00 | 3.00 | 5.00 | 25 | 38 |' in text
        assert 'old' not in text
        assert 'kept' in text
        assert fill(tmp_path) == ['batching']
        assert (tmp_path / 'README.md').read_text() == text, 'twice is like once'

    @pytest.mark.parametrize(
        'name', ['simulated', 'live', 'cameras', 'timer', 'ros', 'batching', 'machine', 'step']
    )
    def test_the_results_have_a_place_for_every_table(self, name):
        path = (
            deadlines.RESULTS / 'README.md' if name != 'step' else deadlines.TRACES.parents[2] / 'README.md'
        )
        text = path.read_text()
        assert text.count(f'<!-- {name} -->') == text.count(f'<!-- /{name} -->') == 1

    @pytest.mark.parametrize('wrong', [['--load', 'heavy'], ['--policies', 'best'], ['--model', 'vgg']])
    def test_what_does_not_exist_is_refused(self, wrong, capsys):
        with pytest.raises(SystemExit):
            deadlines.main(wrong)
        assert 'write some of' in capsys.readouterr().err

    def test_plots_are_drawn(self, tmp_path):
        pytest.importorskip('matplotlib')
        given = [
            '--simulate',
            str(TRACES['clothing10-step']),
            '--frames',
            '30',
            '--policies',
            'adaptive,static_p99',
        ]
        deadlines.main([*given, '--plots', str(tmp_path / 'plots')])
        assert (tmp_path / 'plots' / 'clothing10.png').stat().st_size > 1000


def test_every_policy_is_known_to_the_command_line():
    assert {*POLICIES} == {
        'contract', 'interruptible', 'adaptive', 'running_mean', 'static_p99', 'fixed_first', 'fixed_last',
        'hindsight',
    }  # fmt: skip
    assert Path(sys.modules['deadlines'].__file__).parent.name == 'benchmark'
