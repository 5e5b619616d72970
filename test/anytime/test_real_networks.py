"""Real networks from checkpoint files: runtimes, profiles and their cache."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from anytime.simulated_classifier import Observer
from simulation import profile

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.checkpoint import load, save
from impatient_ros.checkpoint.export import ExportError
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network import ImpatientNetwork
from impatient_ros.runtime.eager import EagerRuntime


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
