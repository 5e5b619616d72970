import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from simulation import ACCURACIES, Clock, SimulatedRuntime, checkpoint, frame, profile

from impatient_ros.anytime import AnytimeClassifier, FrameRequest, FrameSettings
from impatient_ros.anytime.classifier import RETRY_AFTER
from impatient_ros.checkpoint import load, save
from impatient_ros.checkpoint.export import ExportError
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network import ImpatientNetwork
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.options import MODES
from impatient_ros.runtime.base import Run
from impatient_ros.runtime.eager import EagerRuntime

IMAGE = np.zeros((4, 4, 3), np.uint8)


def classifier(
    mode, *, factor=1.0, accuracies=ACCURACIES, preparation=0.0, logits=None, temperature=1.0, **options
):
    clock = Clock()
    runtime = SimulatedRuntime(clock, factor=factor, logits=logits)
    described = checkpoint(
        accuracies=accuracies, preparation=preparation, clock=clock, temperature=temperature
    )
    return AnytimeClassifier(described, runtime, [profile()], mode=mode, clock=clock, **options), runtime


class Observer:
    """Remembers what it is told; `order` has the names of what was told."""

    def __init__(self):
        self.plans, self.answers, self.final, self.order = [], [], [], []

    def planned(self, path, protected, slowdown):
        self.plans.append(path)
        self.order.append('planned')

    def answered(self, answer):
        self.answers.append(answer)
        self.order.append('answered')

    def completed(self, answer):
        self.final.append(answer)
        self.order.append('completed')


def run(clf, image=IMAGE, *, budget, observer=None, **fields):
    """A frame of `budget` seconds with further fields of a request."""
    at = clf.clock() + budget
    return clf.run(FrameRequest(image, lambda: at, **{'settings': clf.settings, **fields}), observer)


def ladder(mode, *, factor=0.99, preparation=0.001, exits=1, accuracies=(0.4, 0.6, 0.7, 0.8), **options):
    """Four resolutions whose passes take 10, 20, 40 and 80 ms, with one exit each or two at equal parts.

    Frames are a little quicker than forecast: what takes exactly as long is late by a rounding error or not.
    """
    clock, sides = Clock(), (32, 64, 96, 128)
    stages, heads = (0.010 / exits,) * exits, (1e-6,) * exits
    scales = dict(zip(sides, (1.0, 2.0, 4.0, 8.0), strict=True))
    runtime = SimulatedRuntime(clock, stages=stages, heads=heads, factor=factor, scales=scales)
    described = checkpoint(exits, accuracies, preparation, clock, sides)
    profiles = [profile([scale * s for s in stages], [scale * h for h in heads]) for scale in scales.values()]
    return AnytimeClassifier(described, runtime, profiles, mode=mode, clock=clock, **options), runtime


def stages(runtime):
    return [entry for entry in runtime.log if entry.startswith('stage')]


def test_contract_executes_the_stages_of_the_planned_exit_and_one_head():
    clf, runtime = classifier('contract')
    answer = clf.classify(IMAGE, budget=0.025)
    assert runtime.log == ['stage 0', 'stage 1', 'exit 1']
    assert (answer.exit_index, answer.planned_exit_index, answer.met) == (1, 1, True)
    assert answer.elapsed == pytest.approx(0.021)
    assert answer.slack == pytest.approx(0.004)
    assert answer.stages_executed == 2


def test_interruptible_evaluates_every_head_and_answers_with_the_last_in_time():
    clf, runtime = classifier('interruptible')
    observer = Observer()
    answer = clf.classify(IMAGE, budget=0.025, observer=observer)
    assert runtime.log == ['stage 0', 'exit 0', 'stage 1', 'exit 1']
    assert [a.exit_index for a in observer.answers] == [0, 1]
    assert observer.answers[-1] is answer
    assert observer.order == ['planned', 'answered', 'answered', 'completed']


def test_the_final_answer_is_told_once_and_before_anything_is_learned_from_the_frame():
    clf, _ = classifier('interruptible', factor=2.0)
    before, slowdowns = clf.state().slowdown, []
    observer = Observer()
    observer.completed = lambda answer: slowdowns.append((answer, clf.state().slowdown))
    answer = clf.classify(IMAGE, budget=0.025, observer=observer)
    assert slowdowns == [(answer, before)]
    assert clf.state().slowdown > before
    assert clf.classify(IMAGE, budget=1e-6, observer=observer).infeasible
    assert len(slowdowns) == 1


@pytest.mark.parametrize(('budget', 'ahead'), [(1.0, 1), (0.0215, None)])
def test_only_what_is_predicted_to_be_in_time_may_be_enqueued_ahead(monkeypatch, budget, ahead):
    clf, runtime = classifier('interruptible')
    begin, told, observer = runtime.start, [], Observer()
    for _ in range(60):  # two stages were often quicker than usual: the second exit is likely enough
        clf._planners.forecast.errors[2].add(-0.2)

    def start(image):
        run = begin(image)
        stage = run.stage
        run.stage = lambda toward=None, then=None: told.append((toward, then)) or stage(toward, then)
        return run

    monkeypatch.setattr(runtime, 'start', start)
    clf.classify(IMAGE, budget=budget, observer=observer)
    assert observer.plans[0].exit_index >= 1
    assert told[0] == (0, ahead)


def test_without_a_deadline_the_best_exit_answers():
    for mode in MODES:
        clf, _ = classifier(mode)
        answer = clf.classify(IMAGE)
        assert answer.exit_index == 3
        assert answer.met
        assert answer.slack is None


def test_an_infeasible_frame_is_not_even_decoded():
    for mode in MODES:
        clf, runtime = classifier(mode)
        answer = clf.classify(lambda: pytest.fail('decoded'), budget=1e-6)
        assert answer.infeasible
        assert (answer.label, answer.exit_index, answer.planned_exit_index, answer.met) == (
            None,
            None,
            None,
            False,
        )
        assert answer.probabilities.size == 0
        assert runtime.log == []


def test_an_infeasible_frame_is_answered_late_where_late_answers_are_wanted():
    clf, runtime = classifier('contract')
    answer = clf.classify(IMAGE, budget=0.001, settings=FrameSettings('contract', finish_late=True))
    assert runtime.log == ['stage 0', 'exit 0']
    assert answer.exit_index == 0
    assert not answer.met
    assert answer.slack < 0


def test_a_frame_without_an_answer_is_abandoned_at_the_first_boundary_after_its_deadline():
    clf, runtime = classifier('contract', factor=3.0)
    answer = clf.classify(IMAGE, budget=0.045)
    assert stages(runtime) == ['stage 0', 'stage 1']
    assert 'exit 3' not in runtime.log
    assert answer.label is None
    assert not answer.infeasible
    assert answer.planned_exit_index == 3


def test_a_frame_slower_than_planned_still_answers_from_the_nearest_exit_when_not_bound_by_a_contract():
    clf, runtime = classifier('adaptive', factor=2.0)
    answer = clf.classify(IMAGE, budget=0.045)
    assert answer.met
    assert answer.exit_index is not None
    assert answer.exit_index < 3
    assert 'stage 3' not in runtime.log


def test_a_slow_machine_is_learned():
    clf, _ = classifier('contract', factor=2.0)
    for _ in range(30):
        clf.classify(IMAGE, budget=0.055)
    assert clf.state().slowdown == pytest.approx(2.0, rel=0.1)
    answer = clf.classify(IMAGE, budget=0.055)
    assert answer.met
    assert answer.exit_index == answer.planned_exit_index == 1


def test_a_machine_that_became_faster_is_noticed_though_every_frame_is_infeasible():
    clf, runtime = classifier('contract', factor=0.5)
    answers = [clf.classify(IMAGE, budget=0.010) for _ in range(10 * RETRY_AFTER)]
    assert all(answer.infeasible for answer in answers[:RETRY_AFTER])
    assert runtime.log[:2] == ['stage 0', 'exit 0'], 'tried on an empty image'
    assert answers[-1].exit_index == 0


def test_after_a_hiccup_a_frame_is_tried_though_preparing_it_once_more_would_take_too_long():
    clf, runtime = classifier('adaptive', preparation=0.030)
    for factor in (1.0, 1.0, 1.0, 5.0, 5.0, 5.0):
        runtime.factor = factor
        clf.classify(IMAGE)
    runtime.factor = 1.0
    answers = [clf.classify(IMAGE, budget=0.050) for _ in range(10)]
    assert [answer.exit_index for answer in answers] == [0] * 10


def spoil(clf, camera):
    """Frames of a camera whose preparation takes half a minute, for once."""
    [resolution] = clf.checkpoint.resolutions
    usual, resolution.preprocessing.cost = resolution.preprocessing.cost, 30.0
    for _ in range(20):
        run(clf, budget=100.0, camera=camera)
    resolution.preprocessing.cost = usual


def test_a_preparation_cost_that_made_every_frame_infeasible_is_tried_again():
    clf, _ = classifier('contract', preparation=0.001)
    spoil(clf, 'front')
    for _ in range(RETRY_AFTER):
        assert run(clf, budget=0.1, camera='front').infeasible
    assert run(clf, budget=0.1, camera='front').exit_index == 3
    assert run(clf, budget=0.1, camera='front').exit_index == 3


def test_frames_of_another_camera_do_not_keep_a_preparation_cost_from_being_tried_again():
    clf, _ = classifier('contract', preparation=0.001)
    spoil(clf, 'stuck')
    for _ in range(RETRY_AFTER):
        assert run(clf, budget=0.1, camera='stuck').infeasible
        assert run(clf, budget=0.1, camera='other').met
    assert run(clf, budget=0.1, camera='stuck').met


def test_warming_up_runs_every_exit_and_learns_nothing():
    clf, runtime = classifier('adaptive', factor=5.0, preparation=0.010)
    before = clf.state()
    clf.warm_up()
    assert runtime.log == [f'{step} {t}' for t in range(clf.exits) for step in ('stage', 'exit')]
    assert clf.state() == before
    assert clf.classify(IMAGE, budget=0.012).infeasible is False


def test_preparation_is_learned_and_counts_against_the_budget():
    clf, runtime = classifier('contract', preparation=0.010)
    for _ in range(2):
        early = run(clf, budget=0.015, camera='front')
        assert early.label is None
        assert not early.infeasible, 'it was accepted before its preparation cost was known'
    assert run(clf, budget=0.015, camera='front').infeasible
    assert not run(clf, budget=0.015, camera='rear').infeasible, 'each camera has a cost of its own'
    assert run(clf, budget=0.035, camera='front').exit_index == 1
    assert stages(runtime) == ['stage 0', 'stage 1']


def test_reserve_is_kept_free_before_the_deadline():
    clf, _ = classifier('contract')
    assert clf.classify(IMAGE, budget=0.022).exit_index == 1
    assert run(clf, budget=0.022, reserve=0.005).exit_index == 0


def test_a_deeper_answer_of_an_exit_that_is_less_accurate_does_not_replace_a_better_one():
    clf, _ = classifier('interruptible', accuracies=(0.5, 0.9, 0.7, 0.95))
    assert clf.classify(IMAGE, budget=0.040).exit_index == 1
    clf, runtime = classifier('interruptible', accuracies=(0.5, 0.9, 0.7, 0.95))
    runtime.stages = (0.010, 0.010, 0.010, 1.0)  # it was meant to go on to the last one
    answer = clf.classify(IMAGE, budget=0.060)
    assert 'exit 2' in runtime.log
    assert (answer.exit_index, answer.met) == (1, True)


def test_a_sure_answer_ends_the_frame_early():
    sure = [[0, 9, 0]] * 4
    clf, runtime = classifier('interruptible', logits=sure, confidence_threshold=0.9)
    assert clf.classify(IMAGE, budget=1.0).exit_index == 0
    assert stages(runtime) == ['stage 0']
    assert clf.classify(IMAGE, budget=1.0, settings=FrameSettings('interruptible')).exit_index == 3


def test_probabilities_are_calibrated_with_the_exits_temperature():
    clf, _ = classifier('contract', logits=[[0, 2, 0]] * 4, temperature=4.0)
    answer = clf.classify(IMAGE)
    expected = np.exp([0, 0.5, 0]) / np.exp([0, 0.5, 0]).sum()
    assert np.allclose(answer.probabilities, expected)
    assert answer.confidence == pytest.approx(expected[1])
    assert answer.label == 'class 1'
    assert answer.class_index == 1


@given(st.sampled_from(MODES), st.floats(0.0, 0.1), st.floats(0.5, 3.0))
def test_no_stage_starts_after_the_deadline_and_met_means_in_time(mode, budget, factor):
    clf, runtime = classifier(mode, factor=factor)
    answer = clf.classify(IMAGE, budget=budget)
    longest = 0.011 * factor
    assert runtime.clock.now - 100.0 <= budget + longest + 1e-9
    assert answer.met == (answer.label is not None and answer.elapsed <= budget)
    assert answer.infeasible == (not runtime.log)


@pytest.mark.parametrize('mode', ['interruptible', 'adaptive'])
def test_a_deadline_that_moves_applies_to_the_frame_under_way(mode):
    clf, runtime = classifier(mode)

    def deadline():  # far away until the first stage has run, then almost here
        return 100.025 if runtime.log else 109.0

    answer = clf.classify(IMAGE, deadline=deadline)
    assert answer.met
    assert answer.exit_index == 1
    assert stages(runtime) == ['stage 0', 'stage 1']


class TestProtectedExits:
    def test_an_answer_says_which_exit_was_protected_and_whether_it_overran(self):
        clf, _ = classifier('contract')
        clf.classify(IMAGE, budget=0.06)
        assert clf.state().cameras[''].protected == 1
        clf, _ = classifier('contract', factor=1.2)
        answer = clf.classify(IMAGE, budget=0.06)
        assert (answer.protected_exit_index, answer.exit_index, answer.met) == (3, 3, True)
        assert answer.overrun  # later than planned, though by the deadline
        assert clf.state().cameras[''].overrun_rate == 1.0

    def test_an_exit_that_is_abandoned_counts_as_an_overrun(self):
        clf, _ = classifier('contract', factor=3.0)
        answer = clf.classify(IMAGE, budget=0.045)
        assert (answer.protected_exit_index, answer.exit_index) == (3, None)
        assert clf.state().cameras[''].overrun_rate == 1.0

    def test_an_answer_that_is_sure_early_is_no_overrun(self):
        logits = [[9.0, 0.0, 0.0]] * 4
        clf, _ = classifier('interruptible', logits=logits, confidence_threshold=0.9)
        answer = clf.classify(IMAGE, budget=0.06)
        assert answer.exit_index == 0
        assert not answer.overrun
        assert clf.state().cameras[''].overrun_rate in (None, 0.0)

    def test_a_late_answer_does_not_replace_one_in_time(self):
        clf, runtime = classifier('interruptible')
        runtime.stages = (0.010, 0.050, 0.010, 0.010)
        answer = clf.classify(IMAGE, budget=0.030)
        assert 'stage 1' in runtime.log
        assert (answer.exit_index, answer.met) == (0, True)

    def test_nothing_is_protected_where_the_first_exit_is_only_possible(self):
        clf, _ = classifier('contract', factor=0.5)
        for _ in range(3):
            clf._planners.forecast.learn(frame(0.5, last=0))
        clf._planners.forecast.learn(frame(1.0, last=0))
        clf._planners.forecast.learn(frame(1.0, last=0))
        answer = clf.classify(IMAGE, budget=0.0095)
        assert answer.protected_exit_index is None
        assert answer.overrun is None


def test_two_cameras_with_different_miss_rates_each_hold_their_own():
    clf, runtime = classifier('contract')
    random = np.random.default_rng(7)
    settings = {'front': FrameSettings('contract', 0.01), 'rear': FrameSettings('contract', 0.1)}
    overruns = {camera: [] for camera in settings}
    for number in range(12000):
        runtime.factor = float(np.exp(random.normal(0, 0.15)))
        camera = ('front', 'rear')[number % 2]
        budget = random.uniform(0.012, 0.080)
        answer = run(clf, budget=budget, camera=camera, settings=settings[camera])
        if answer.protected_exit_index is not None:
            overruns[camera].append(answer.overrun)
    for camera, each in settings.items():
        assert len(overruns[camera]) > 3000
        assert np.mean(overruns[camera]) == pytest.approx(each.miss_rate, rel=0.2), camera
        state = clf.state().cameras[camera]
        assert (state.protected, state.overruns) == (len(overruns[camera]), sum(overruns[camera]))


class FusedRun(Run):
    """Executes a fused path in 0.7 of the time where it is told that its exit is certain."""

    scores = None

    @property
    def ready(self):
        return self.scores is not None

    def stage(self, toward=None, then=None):
        if toward is None or self.position > 0 or toward == 0:
            super().stage()
            return
        runtime = self._runtime
        runtime.log.append(f'path {toward}')
        runtime.clock.now += 0.7 * (sum(runtime.stages[: toward + 1]) + runtime.heads[toward])
        self.scores, self.position = np.array([0.0, 1.0, 0.0]), toward + 1

    def exit(self):
        if self.scores is None:
            return super().exit()
        scores, self.scores = self.scores, None
        return scores


class TestFusedPaths:
    """A small network's boundaries cost a good part of its time."""

    @pytest.fixture
    def fused(self):
        clf, runtime = classifier('adaptive')
        runtime.start = lambda image: FusedRun(runtime, image)
        tables = profile().to_dict()
        for t in range(1, 4):
            tables['contract'][0][t] = [0.7 * c for c in tables['contract'][0][t]]
        clf = AnytimeClassifier(
            clf.checkpoint, runtime, [LatencyProfile.from_dict(tables)], mode='adaptive', clock=runtime.clock
        )
        return clf, runtime

    def test_a_protected_exit_is_reached_without_a_stop_and_ends_the_frame(self, fused):
        clf, runtime = fused
        answer = clf.classify(IMAGE, budget=0.030)
        assert runtime.log == ['path 3']
        assert (answer.exit_index, answer.planned_exit_index, answer.met, answer.overrun) == (
            3,
            3,
            True,
            False,
        )
        assert answer.elapsed == pytest.approx(0.0287)

    def test_frames_that_others_wait_for_stop_at_every_boundary(self, fused):
        clf, runtime = fused
        run(clf, budget=0.060, time_share=lambda left: left)
        assert not any(entry.startswith('path') for entry in runtime.log)

    def test_it_teaches_the_forecast_no_slowness(self, fused):
        clf, _ = fused
        for budget in (0.030, 0.060, 0.025, 0.012) * 10:
            assert clf.classify(IMAGE, budget=budget).met
        assert clf.state().slowdown == pytest.approx(1.0, rel=0.01)


def test_settings_are_those_of_the_frame():
    clf, runtime = classifier('contract')
    clf.classify(IMAGE, budget=0.025, settings=FrameSettings('interruptible'))
    assert 'exit 0' in runtime.log
    runtime.log.clear()
    clf.classify(IMAGE, budget=0.025)
    assert 'exit 0' not in runtime.log, 'those of one frame do not stay'


@pytest.mark.parametrize('times', [{'budget': 0.1, 'deadline': 0.1}, {'budget': float('nan')}])
def test_impossible_times_are_refused(times):
    clf, _ = classifier('contract')
    with pytest.raises(ValueError, match='give'):
        clf.classify(IMAGE, **times)


def test_a_decoder_that_fails_leaves_the_classifier_usable():
    clf, _ = classifier('contract')

    def broken():
        raise ValueError('not a picture')

    with pytest.raises(ValueError, match='not a picture'):
        clf.classify(broken, budget=0.1)
    assert clf.classify(IMAGE, budget=0.1).met


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    torch = pytest.importorskip('torch')
    from impatient_ros.checkpoint import save
    from impatient_ros.images.preprocessing import Preprocessing
    from impatient_ros.network import ImpatientNetwork

    torch.manual_seed(0)
    network = ImpatientNetwork.from_torchvision('shufflenet_v2_x0_5', exits=4, classes=3, image_size=64)
    path = tmp_path_factory.mktemp('model') / 'tiny.safetensors'
    save(network, path, labels=('a', 'b', 'c'), preprocessing=Preprocessing.for_image_size(64))
    return path


@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
    # One for all tests of this module: profiling takes seconds.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        yield


def _stored_profiles_of(clf):
    profiles = [profile.to_dict() for profile in clf.profiles]
    for path in Path(os.environ['XDG_CACHE_HOME']).rglob('latency/*.json'):
        if json.loads(path.read_text())['profiles'] == profiles:
            return path
    raise AssertionError('this profile is not in the cache')


def _without_an_exit(profile):
    contract = [row[:-1] for row in profile['contract'][:-1]]
    return {**profile, 'contract': contract, 'interruptible': [r[:-1] for r in profile['interruptible'][:-1]]}


def _costing_nothing(profile):
    return {
        **profile,
        'contract': [[[0.0] * len(samples) for samples in row] for row in profile['contract']],
    }


class TestRealNetwork:
    """Real torch, real time, a real file."""

    def test_from_checkpoint_profiles_once_and_answers_by_the_deadline(self, file):
        reports = []
        clf = AnytimeClassifier.from_checkpoint(file, device='cpu', progress=lambda s, t: reports.append(t))
        assert any('round' in text for text in reports)
        again = []
        AnytimeClassifier.from_checkpoint(file, device='cpu', progress=lambda s, t: again.append(t))
        # Whichever is faster here, where both are installed.
        assert clf.runtime.name in ('openvino', 'onnxruntime')
        assert again == ['latency profile taken from the cache']
        answer = clf.classify(np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8), budget=1.0)
        assert answer.label in clf.labels
        assert answer.probabilities.sum() == pytest.approx(1.0)
        assert answer.met

    @pytest.mark.parametrize('damage', [lambda profile: None, _without_an_exit, _costing_nothing])
    def test_a_damaged_profile_is_measured_anew(self, file, damage):
        clf = AnytimeClassifier.from_checkpoint(file, device='cpu', runtime='eager')
        path = _stored_profiles_of(clf)
        stored = json.loads(path.read_text())
        path.write_text(json.dumps({'profiles': [damage(each) for each in stored['profiles']]}))
        clf = AnytimeClassifier.from_checkpoint(file, device='cpu', runtime='eager')
        profiles = [profile.to_dict() for profile in clf.profiles]
        assert json.loads(path.read_text()) == {'key': stored['key'], 'profiles': profiles}
        assert min(clf.costs().values()) > 0

    def test_stages_behind_the_chosen_exit_never_run(self, file):
        loaded = load(file)
        executed = []
        network = loaded.network
        for kind, modules in (('stage', network.stages), ('exit', network.exits)):
            for index, module in enumerate(modules):
                module.register_forward_hook(lambda *_, name=f'{kind} {index}': executed.append(name))
        # A profile by which only the first two exits fit, far from what this machine really takes.
        assumed = profile((0.1, 0.1, 60.0, 60.0), (0.01,) * 4)
        runtime = EagerRuntime(network, torch.device('cpu'))
        clf = AnytimeClassifier(loaded, runtime, [assumed], mode='contract')
        answer = clf.classify(np.zeros((64, 64, 3), np.uint8), budget=30.0)
        assert answer.exit_index == 1
        assert executed == ['stage 0', 'stage 1', 'exit 1']

    def test_an_answer_is_given_away_while_a_later_stage_still_runs(self, file):
        loaded = load(file)
        runtime = EagerRuntime(loaded.network, torch.device('cpu'))
        assumed = profile((0.01,) * runtime.exits, (0.01,) * runtime.exits)
        clf = AnytimeClassifier(loaded, runtime, [assumed], mode='interruptible')
        release, answered = threading.Event(), threading.Event()
        loaded.network.stages[1].register_forward_pre_hook(lambda *_: release.wait(10) and None)
        observer = Observer()
        observer.answered = lambda _: answered.set()
        worker = threading.Thread(
            target=lambda: clf.classify(np.zeros((64, 64, 3), np.uint8), observer=observer)
        )
        worker.start()
        try:
            assert answered.wait(10)
            assert worker.is_alive()
        finally:
            release.set()
            worker.join(10)

    def test_unavailable_devices_and_runtimes_are_refused_with_what_to_write(self, file):
        from impatient_ros.runtime import RuntimeUnavailableError

        for options in (
            {'device': 'gpu'},
            {'device': 'cuda:99'},
            {'runtime': 'tensorrt'},
            {'runtime': 'cuda_graph'},
        ):
            with pytest.raises(RuntimeUnavailableError, match='write'):
                AnytimeClassifier.from_checkpoint(file, **options)

    @pytest.mark.cuda
    def test_cuda_answers_like_the_cpu(self, file):
        torch = pytest.importorskip('torch')
        if not torch.cuda.is_available():
            pytest.skip('needs a CUDA device')
        image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
        answers = [
            AnytimeClassifier.from_checkpoint(file, device=device, mode='interruptible').classify(image)
            for device in ('cpu', 'cuda')
        ]
        assert np.allclose(answers[0].probabilities, answers[1].probabilities, atol=1e-3)


def saved(path, size, **values):
    network = ImpatientNetwork.from_torchvision('mobilenet_v3_small', exits=2, classes=2, image_size=size)
    save(network, path, labels=['a', 'b'], preprocessing=Preprocessing(size, 256), **values)
    return path


def test_a_network_need_not_be_square(tmp_path):
    path = saved(tmp_path / 'tall.safetensors', (224, 160))
    clf = AnytimeClassifier.from_checkpoint(path, device='cpu', runtime='eager')
    assert clf.classify(np.zeros((64, 64, 3), np.uint8)).resolution == 160


def test_a_network_without_graphs_keeps_its_resolutions(tmp_path, monkeypatch):
    def refuse(*_):
        raise ExportError('an operator that ONNX has not')

    monkeypatch.setattr('impatient_ros.checkpoint.store.export', refuse)
    path = saved(tmp_path / 'torch_only.safetensors', 224, resolutions=(160, 224))
    clf = AnytimeClassifier.from_checkpoint(path, device='cpu', runtime='eager')
    assert clf.resolutions == (160, 224)
    assert clf.classify(np.zeros((64, 64, 3), np.uint8), path=clf.paths[0]).resolution == 160


class TestResolutions:
    """The budget decides at which resolution the picture is prepared."""

    @pytest.mark.parametrize(
        ('budget', 'side'), [(0.0135, 32), (0.0245, 64), (0.0475, 96), (0.0935, 128), (9.0, 128)]
    )
    @pytest.mark.parametrize('mode', ['contract', 'adaptive'])
    def test_a_frame_takes_the_best_resolution_that_fits(self, mode, budget, side):
        clf, runtime = ladder(mode)
        for _ in range(3):
            clf.classify(IMAGE, budget=9.0)
        runtime.resolutions.clear()
        answer = clf.classify(IMAGE, budget=budget)
        assert (answer.resolution, answer.planned_resolution, answer.exit_index) == (side, side, 0)
        assert answer.met
        assert runtime.resolutions[-1] == side
        assert len(runtime.resolutions) == 1 or mode == 'adaptive', 'only an insurance may come before'

    def test_a_budget_below_the_cheapest_path_is_infeasible(self):
        clf, runtime = ladder('adaptive')
        answer = clf.classify(IMAGE, budget=0.005)
        assert answer.infeasible
        assert (answer.resolution, answer.planned_resolution) == (None, None)
        assert runtime.log == []

    def test_preparation_is_planned_for_once_it_is_known(self):
        clf, runtime = ladder('contract', preparation=0.005)
        for _ in range(3):
            clf.classify(IMAGE, budget=0.120)
        runtime.resolutions.clear()
        assert clf.classify(IMAGE, budget=0.0440).resolution == 64
        assert clf.classify(IMAGE, budget=0.0520).resolution == 96
        assert runtime.resolutions == [64, 96]

    def test_a_picture_that_was_prepared_too_slowly_is_prepared_anew_at_a_lower_resolution(self):
        clf, runtime = ladder('contract')
        for _ in range(3):
            clf.classify(IMAGE, budget=0.5)
        slow = clf.checkpoint.resolutions[3].preprocessing
        slow.cost = 0.030
        runtime.resolutions.clear()
        answer = clf.classify(IMAGE, budget=0.0935)
        assert runtime.resolutions == [128, 96]
        assert (answer.resolution, answer.planned_resolution, answer.met) == (96, 96, True)

    def test_interruptible_passes_grow_and_the_best_answer_stands(self):
        clf, runtime = ladder('interruptible')
        observer = Observer()
        answer = clf.classify(IMAGE, budget=0.5, observer=observer)
        assert runtime.resolutions == [32, 64, 96, 128]
        assert [each.resolution for each in observer.answers] == [32, 64, 96, 128]
        assert answer is observer.answers[-1]
        assert answer.stages_executed == 4

    def test_with_time_left_after_an_answer_a_further_pass_is_tried(self):
        clf, runtime = ladder('interruptible', factor=0.4)
        answer = clf.classify(IMAGE, budget=0.075)
        assert runtime.resolutions[:3] == [32, 64, 96]
        assert answer.resolution >= 96
        assert answer.met

    def test_each_resolution_teaches_the_others_how_slow_the_machine_is(self):
        clf, _ = ladder('contract', factor=2.0)
        for _ in range(20):
            clf.classify(IMAGE, budget=0.4)  # the largest one
        assert clf.state().slowdown == pytest.approx(2.0, rel=0.05)
        answer = clf.classify(IMAGE, budget=0.060)
        assert (answer.resolution, answer.met) == (64, True)

    def test_passes_of_one_frame_are_no_frames_that_agree_on_a_change(self):
        slowdowns = []
        for mode in ('contract', 'interruptible'):
            clf, runtime = ladder(mode, factor=1.0)
            for _ in range(30):
                clf.classify(IMAGE)
            runtime.factor = 5.0
            clf.classify(IMAGE)
            slowdowns.append(clf.state().slowdown)
        assert runtime.resolutions[-4:] == [32, 64, 96, 128]
        assert slowdowns[1] == pytest.approx(slowdowns[0], rel=0.01)

    def test_a_risky_pass_is_insured_by_a_cheaper_one(self):
        clf, runtime = ladder('adaptive', accuracies=(0.6, 0.61, 0.62, 0.9))
        random = np.random.default_rng(2)
        for _ in range(300):
            runtime.factor = float(random.choice([1.0, 1.6], p=[0.8, 0.2]))
            clf.classify(IMAGE, budget=0.5, settings=FrameSettings('contract'))
        runtime.factor = 1.0
        runtime.resolutions.clear()
        answer = clf.classify(IMAGE, budget=0.110)
        assert runtime.resolutions[-1] == 128
        assert len(runtime.resolutions) == 2
        assert (answer.resolution, answer.met) == (128, True)

    def test_exactly_one_path_can_be_asked_for(self):
        clf, runtime = ladder('adaptive', exits=2, accuracies=(0.1, 0.4, 0.2, 0.6, 0.3, 0.7, 0.4, 0.8))
        assert [path.resolution for path in clf.paths] == [32, 32, 64, 96, 64, 128, 96, 128]
        before = clf.state()
        for path in clf.paths:
            runtime.log.clear()
            answer = clf.classify(IMAGE, path=path)
            assert (answer.resolution, answer.exit_index) == (path.resolution, path.exit_index)
            assert [entry for entry in runtime.log if entry.startswith('exit')] == [f'exit {path.exit_index}']
        assert clf.state() == before
        with pytest.raises(ValueError, match='not both'):
            clf.classify(IMAGE, 0.1, path=clf.paths[0])
        with pytest.raises(ValueError, match='one of `paths`'):
            clf.classify(IMAGE, path=replace(clf.paths[0], resolution=48))

    def test_costs_are_those_of_each_path(self):
        clf, _ = ladder('adaptive')
        assert list(clf.costs().values()) == pytest.approx([0.010, 0.020, 0.040, 0.080], abs=1e-5)

    @given(st.sampled_from(MODES), st.floats(0.0, 0.3), st.floats(0.4, 3.0), st.integers(1, 2), st.booleans())
    def test_every_frame_ends_and_met_means_in_time(self, mode, budget, factor, exits, late):
        accuracies = (0.4, 0.6, 0.7, 0.8) if exits == 1 else (0.2, 0.4, 0.3, 0.6, 0.1, 0.7, 0.75, 0.8)
        clf, runtime = ladder(mode, factor=factor, exits=exits, accuracies=accuracies)
        for _ in range(3):
            begin = runtime.clock.now
            answer = clf.classify(IMAGE, budget=budget, settings=FrameSettings(mode, finish_late=late))
            assert runtime.clock.now - begin <= budget + 0.080 * factor + 0.004
            assert answer.met == (answer.label is not None and answer.elapsed <= budget)
            assert answer.label is not None or not late


def test_labels_compete_among_themselves_and_unknown_is_judged_among_all():
    clf, _ = classifier('contract', logits=[[0.0, 3.0, 1.0]] * 4, labels=['class 2', 'class 0'])
    answer = clf.classify(IMAGE, settings=FrameSettings('contract', unknown_below=0.2))
    among_all = np.exp([1.0, 0.0]) / np.exp([0.0, 3.0, 1.0]).sum()
    assert clf.labels == ('class 2', 'class 0')
    assert (answer.label, answer.class_index) == ('class 2', 0)
    assert np.allclose(answer.probabilities, among_all / among_all.sum())
    assert answer.unknown
    assert answer.confidence == pytest.approx(among_all[0])
    assert not clf.classify(IMAGE, settings=FrameSettings('contract', unknown_below=0.1)).unknown


def test_an_unknown_answer_is_not_sure_enough_to_end_the_frame():
    clf, _ = classifier('interruptible', logits=[[0.0, 1.0, 0.0]] * 4)
    settings = FrameSettings('interruptible', confidence_threshold=0.4, unknown_below=0.9)
    assert clf.classify(IMAGE, budget=1.0, settings=settings).exit_index == 3
    settings = FrameSettings('interruptible', confidence_threshold=0.4)
    assert clf.classify(IMAGE, budget=1.0, settings=settings).exit_index == 0
