import builtins
import logging

import numpy as np
import pytest
import torch
from torch import nn

from impatient_ros.checkpoint import load
from impatient_ros.network import ImpatientNetwork
from impatient_ros.resources import resource_path
from impatient_ros.runtime import RuntimeUnavailableError, select_runtime
from impatient_ros.runtime.eager import EagerRuntime

pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from impatient_ros.runtime.onnx.export import ExportError
from impatient_ros.runtime.onnx.runtime import OnnxRuntime


def network(name='resnet18', size=64, exits=3):
    """A small network that does not say the same to every image."""
    torch.manual_seed(0)
    made = ImpatientNetwork.from_torchvision(name, exits=exits, classes=7, image_size=size)
    with torch.no_grad():
        made.train()
        for _ in range(2):
            made(torch.randn(4, 3, size, size))  # batch norm's statistics
        for head in made.exits:
            last = [m for m in head.modules() if isinstance(m, nn.Linear)][-1]
            nn.init.normal_(last.weight, std=0.5)
    return made.eval()


@pytest.fixture(scope='module')
def small():
    return network('shufflenet_v2_x0_5')


@pytest.fixture(scope='module')
def runtime(small):
    return OnnxRuntime(small)


def image(of, seed=1):
    return np.random.default_rng(seed).normal(size=(1, *of.input_shape)).astype(np.float32)


def expected(of, picture):
    with torch.inference_mode():
        return [scores[0].numpy() for scores in of(torch.from_numpy(picture))]


def assert_equal(found, wanted):
    assert np.abs(found - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())


def check_every_way(of, ort):
    picture = image(of)
    wanted = expected(of, picture)
    assert np.ptp(wanted[-1]) > 1e-3, 'scores that do not differ prove nothing'
    for t in range(ort.exits):
        path = ort.start(picture)
        path.stage(t)
        assert (path.position, path.ready) == (t + 1, True)
        assert_equal(path.exit(), wanted[t])
        alone = ort.start(picture)
        for _ in range(t + 1):
            alone.stage()
        assert not alone.ready
        assert_equal(alone.exit(), wanted[t])
    every = ort.start(picture)
    for t in range(ort.exits):
        every.stage(t)
        assert_equal(every.exit(), wanted[t])


def test_the_default_model_answers_as_in_torch():
    of = load(resource_path('models', 'clothing10.safetensors')).network
    check_every_way(of, OnnxRuntime(of))


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        ('resnet18', 64),
        ('mobilenet_v3_small', 64),
        pytest.param('swin_t', 32, marks=pytest.mark.slow),
        pytest.param('vit_b_16', 32, marks=pytest.mark.slow),  # 86 million parameters
    ],
)
def test_every_family_answers_as_in_torch(name, size):
    of = network(name, size)
    check_every_way(of, OnnxRuntime(of))


def test_results_are_their_own_memory(small, runtime):
    first, second = image(small, 1), image(small, 2)
    run = runtime.start(first)
    run.stage(2)
    kept = run.exit()
    before = kept.copy()
    other = runtime.start(second)
    other.stage(2)
    assert not np.array_equal(other.exit(), before)
    assert np.array_equal(kept, before)


def test_threads_that_are_given_are_used_and_others_only_where_they_pay(small, monkeypatch):
    from impatient_ros.runtime.onnx import runtime as module

    monkeypatch.setattr(module.torch, 'get_num_threads', lambda: 2)
    for pays, expected in ((True, 2), (False, 1)):
        monkeypatch.setattr(module, 'faster_with_several', lambda one, several, pays=pays: pays)
        made = OnnxRuntime(small)
        assert (made.threads, made.describe()['threads']) == (expected, expected)
        check_every_way(small, made)
    assert OnnxRuntime(small, threads=2).threads == 2


class TestCache:
    @pytest.fixture(autouse=True)
    def empty_cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))

    @pytest.fixture
    def exports(self, monkeypatch):
        from impatient_ros.runtime.onnx import runtime as module

        done = []
        export = module.export_whole
        monkeypatch.setattr(module, 'export_whole', lambda network: done.append(1) or export(network))
        return done

    def test_a_checkpoint_is_exported_once_and_again_when_it_changes(self, small, exports):
        OnnxRuntime(small, 'a')
        again = OnnxRuntime(small, 'a')
        assert len(exports) == 1
        check_every_way(small, again)
        OnnxRuntime(small, 'b')
        assert len(exports) == 2

    def test_a_damaged_file_is_made_anew(self, small, exports, tmp_path):
        OnnxRuntime(small, 'a')
        [file] = tmp_path.rglob('*.npz')
        whole = file.read_bytes()
        file.write_bytes(whole[:-1])
        check_every_way(small, OnnxRuntime(small, 'a'))
        assert len(exports) == 2
        assert len(file.read_bytes()) == len(whole)
        assert [entry.name for entry in file.parent.iterdir()] == [file.name], 'nothing half written is left'

    def test_a_cache_that_cannot_be_written_is_done_without(self, small, tmp_path, monkeypatch):
        (tmp_path / 'file').write_text('in the way')
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
        made = OnnxRuntime(small, 'a')
        assert made.exits == 3


class TestSelection:
    def test_auto_is_onnxruntime_on_the_cpu_and_says_so(self, small, caplog):
        with caplog.at_level(logging.INFO):
            assert isinstance(select_runtime(small, 'auto', 'cpu'), OnnxRuntime)
        assert 'stages execute on onnxruntime (cpu)' in caplog.text

    def test_without_the_package_auto_is_eager_and_an_explicit_choice_says_what_to_install(
        self, small, monkeypatch, caplog
    ):
        imports = builtins.__import__

        def without(name, *args, **options):
            if name == 'onnxruntime':
                raise ImportError(name)
            return imports(name, *args, **options)

        monkeypatch.setattr(builtins, '__import__', without)
        assert isinstance(select_runtime(small, 'auto', 'cpu'), EagerRuntime)
        assert 'onnxruntime is not installed' in caplog.text
        with pytest.raises(RuntimeUnavailableError, match='pip install onnxruntime'):
            select_runtime(small, 'onnxruntime', 'cpu')

    def test_an_export_that_fails_or_differs_is_not_used(self, small, monkeypatch):
        from impatient_ros.runtime.onnx import runtime as module

        other = network('shufflenet_v2_x0_5')
        with torch.no_grad():
            for parameter in other.exits[1].parameters():
                parameter.mul_(1.1)
        export = module.export_whole
        monkeypatch.setattr(module, 'export_whole', lambda _: export(other))
        with pytest.raises(RuntimeUnavailableError, match='exit 2 differs from torch'):
            select_runtime(small, 'onnxruntime', 'cpu')

        def fail(_):
            raise ExportError('no such operator')

        monkeypatch.setattr(module, 'export_whole', fail)
        with pytest.raises(RuntimeUnavailableError, match='no such operator'):
            select_runtime(small, 'onnxruntime', 'cpu')
        assert isinstance(select_runtime(small, 'auto', 'cpu'), EagerRuntime)
