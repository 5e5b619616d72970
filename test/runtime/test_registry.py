import logging
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from impatient_ros.perception.parameter_values import node_definitions
from impatient_ros.resources import resource_path
from impatient_ros.runtime import (
    PRECISIONS,
    RUNTIMES,
    RuntimeUnavailableError,
    Source,
    registry,
    select_runtime,
)
from impatient_ros.runtime.registry import Entry

DEFAULT = resource_path('models', 'clothing10.safetensors')


class Made:
    """A stand-in for a runtime."""

    def __init__(self, name, device, threads, precision='f32'):
        self.name, self.device, self.threads = name, device, threads
        self.precision = 'f32' if precision == 'auto' else precision


@pytest.fixture
def native():
    """What each runtime computes natively on the machine of these tests."""
    return {'openvino': ('f32', 'int8'), 'onnxruntime': ('f32', 'int8'), 'cuda_graph': ('f16', 'f32')}


@pytest.fixture
def table(monkeypatch, native):
    """Runtimes that only say what was asked of them, named as the real ones; `fails` by name."""
    fails = {}

    def stand_in(entry):
        def make(source, device, threads, memory_limit, precision):
            if entry.name in fails:
                raise fails[entry.name]
            return Made(entry.name, device, threads, precision)

        return Entry(entry.name, entry.devices, make, lambda device: native.get(entry.name, ('f32',)))

    monkeypatch.setattr(registry, 'TABLE', {name: stand_in(entry) for name, entry in registry.TABLE.items()})
    monkeypatch.setattr(registry, 'cuda_devices', lambda: 0)
    return fails


def chosen(*names, **options):
    made = select_runtime(Source(), *names, **options)
    return made.name, made.device


def test_the_first_that_knows_the_device_is_taken(table, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    assert chosen('auto', 'cpu') == chosen('auto', 'auto') == ('openvino', 'cpu')
    assert 'stages execute on openvino (cpu) in f32' in caplog.text
    assert chosen('auto', 'igpu') == ('openvino', 'igpu')
    assert chosen('eager', 'auto') == ('eager', 'cpu')
    assert chosen('auto', 'cuda:1') == ('cuda_graph', 'cuda:1')
    monkeypatch.setattr(registry, 'cuda_devices', lambda: 1)
    assert chosen('auto', 'auto') == ('cuda_graph', 'cuda')
    assert chosen('eager', 'auto') == ('eager', 'cuda')
    assert chosen('openvino', 'auto') == ('openvino', 'cpu')
    assert select_runtime(Source(), threads=3).threads == 3


def test_auto_goes_on_to_the_next_one_with_a_warning_and_at_last_to_the_cpu(table, monkeypatch, caplog):
    monkeypatch.setattr(registry, 'cuda_devices', lambda: 1)
    table['cuda_graph'] = RuntimeError('capture failed')
    assert chosen('auto', 'auto') == ('eager', 'cuda')
    assert 'eager is used on cuda, since capture failed' in caplog.text
    table['eager'] = RuntimeUnavailableError('its family is unknown')
    assert chosen('auto', 'auto') == ('openvino', 'cpu')
    assert 'openvino is used on cpu, since its family is unknown' in caplog.text
    with pytest.raises(RuntimeUnavailableError, match='its family is unknown'):
        chosen('auto', 'cuda')
    with pytest.raises(RuntimeUnavailableError, match='its family is unknown'):
        chosen('eager', 'cpu')
    table['openvino'] = RuntimeUnavailableError('its wheel is broken')
    assert chosen('auto', 'cpu') == ('onnxruntime', 'cpu')


def test_what_is_unknown_or_does_not_fit_is_refused_with_what_to_write(table):
    with pytest.raises(RuntimeUnavailableError, match='write one of auto, openvino, onnxruntime, cuda_graph'):
        chosen('tensorrt')
    for device in ('gpu', 'cuda:', 'cuda:x', 'CPU', ''):
        with pytest.raises(RuntimeUnavailableError, match='write auto, cpu, igpu, cuda or cuda:<index>'):
            chosen('auto', device)
    with pytest.raises(RuntimeUnavailableError, match='on cuda, and this machine has no CUDA device'):
        chosen('cuda_graph', 'auto')
    with pytest.raises(RuntimeUnavailableError, match='executes on cpu or igpu, and device is cuda'):
        chosen('openvino', 'cuda')


def test_the_node_offers_what_there_is():
    assert node_definitions()['runtime'].choices == RUNTIMES
    assert node_definitions()['device'].pattern == registry.DEVICES
    assert node_definitions()['precision'].choices == PRECISIONS


def test_a_checkpoint_without_graph_or_without_network_says_what_it_lacks():
    with pytest.raises(RuntimeUnavailableError, match='checkpoint convert'):
        select_runtime(Source(), 'openvino', 'cpu')
    with pytest.raises(RuntimeUnavailableError, match='there is only its graph'):
        select_runtime(Source(), 'eager', 'cpu')

    def unknown():
        raise ValueError("its network was made from a module, 'Mine'")

    with pytest.raises(RuntimeUnavailableError, match="made from a module, 'Mine'") as caught:
        select_runtime(Source(network=unknown), 'eager', 'cpu')
    assert isinstance(caught.value.__cause__, ValueError)


class TestChoiceOnCpu:
    """Between OpenVINO and ONNX Runtime where somebody has installed both."""

    @pytest.fixture
    def source(self):
        return Source((SimpleNamespace(input_shape=(3, 64, 64)),), digest='0' * 64)

    @pytest.fixture
    def asked(self, table, monkeypatch):
        """The makers' names by the times that the choice was asked; the second is faster."""
        found = []

        def second(makers, shapes, file):
            found.append((*makers, *shapes))
            return [*makers.values()][1]()

        monkeypatch.setattr(registry, 'faster', second)
        return found

    @pytest.mark.parametrize('installed', [True, False])
    def test_it_is_asked_under_auto_where_both_are_installed(self, source, asked, monkeypatch, installed):
        monkeypatch.setattr(registry, 'find_spec', lambda name: 'a spec' if installed else None)
        wanted = 'onnxruntime' if installed else 'openvino'
        for device in ('cpu', 'auto'):
            assert select_runtime(source, 'auto', device, threads=3).name == wanted
        assert asked == [('openvino', 'onnxruntime', (3, 64, 64))] * (2 if installed else 0)

    def test_it_is_not_asked_where_there_is_no_choice(self, source, asked, monkeypatch):
        monkeypatch.setattr(registry, 'find_spec', lambda name: 'a spec')
        assert select_runtime(source, 'openvino', 'cpu').name == 'openvino'
        assert select_runtime(source, 'auto', 'igpu').name == 'openvino'
        assert select_runtime(Source(), 'auto', 'cpu').name == 'openvino'
        assert asked == []


class TestPrecision:
    def test_what_is_not_computed_natively_is_refused_with_what_is(self, table, native):
        def refused(*names, **options):
            with pytest.raises(RuntimeUnavailableError) as caught:
                chosen(*names, **options)
            return str(caught.value)

        assert 'write one of auto, f32, bf16, f16, int8' in refused('auto', 'cpu', precision='fp8')
        text = refused('auto', 'cpu', precision='bf16')
        assert "precision 'bf16' is not computed natively here" in text
        assert 'openvino on cpu: f32, int8; onnxruntime on cpu: f32, int8; eager on cpu: f32' in text
        assert text.endswith('write one of these, or precision auto')
        text = refused('eager', 'cpu', precision='f16')
        assert 'only eager on cpu: f32; write one' in text
        assert 'only cuda_graph on cuda: f16, f32;' in refused('cuda_graph', 'cuda', precision='bf16')
        native['openvino'] = ('f32', 'bf16', 'int8')
        assert chosen('auto', 'cpu', precision='bf16') == ('openvino', 'cpu')
        assert chosen('auto', 'cuda', precision='f16') == ('cuda_graph', 'cuda')

    def test_a_driver_that_fails_when_it_is_asked_is_left_out(self, table, monkeypatch, caplog):
        monkeypatch.setattr(registry, 'cuda_devices', lambda: 1)
        monkeypatch.setattr(registry, 'find_spec', lambda name: None)

        def fail(device):
            raise RuntimeError('CUDA error 999')

        broken = replace(registry.TABLE['cuda_graph'], precisions=fail)
        monkeypatch.setitem(registry.TABLE, 'cuda_graph', broken)
        made = select_runtime(Source((GRAPH,), quantised=(GRAPH,)), precision='int8')
        assert (made.name, made.precision) == ('openvino', 'int8')
        assert 'cuda_graph computes on cuda natively cannot be asked: CUDA error 999' in caplog.text

    def test_int8_needs_a_graph_of_it(self, table, caplog):
        with pytest.raises(RuntimeUnavailableError, match=r'no int8 graph; make one with python -m training'):
            select_runtime(Source((GRAPH,)), 'auto', 'cpu', precision='int8')
        assert not caplog.records, 'it is said once'
        made = select_runtime(Source((GRAPH,), quantised=(GRAPH,)), 'openvino', 'cpu', precision='int8')
        assert (made.name, made.precision) == ('openvino', 'int8')

    def test_auto_measures_what_is_native_and_keeps_the_accuracy(self, table, native, monkeypatch):
        native['openvino'] = ('f32', 'bf16', 'int8')
        monkeypatch.setattr(registry, 'find_spec', lambda name: 'a spec')
        asked = []
        monkeypatch.setattr(registry, 'faster', lambda makers, *_: asked.append([*makers]) or last(makers))

        def last(makers):
            return [*makers.values()][-1]()

        def auto(runtime='openvino', **kept):
            source = Source((GRAPH,), quantised=(GRAPH,), accuracy_kept=kept)
            made = select_runtime(source, runtime, 'cpu')
            return made.name, made.precision

        assert auto() == ('openvino', 'f32')
        assert auto(bf16=False, f16=True) == ('openvino', 'f32'), 'one is worse, one is not native'
        assert asked == []
        assert auto(bf16=True, int8=True) == ('openvino', 'int8')
        assert auto(bf16=True, int8=False) == ('openvino', 'bf16')
        assert auto('auto', int8=True) == ('onnxruntime', 'int8')
        assert asked == [
            ['openvino', 'openvino bf16', 'openvino int8'],
            ['openvino', 'openvino bf16'],
            ['openvino', 'openvino int8', 'onnxruntime', 'onnxruntime int8'],
        ]

    def test_cuda_graphs_are_told_what_is_known_and_choose_themselves(self, table):
        made = select_runtime(Source(accuracy_kept={'f16': True}), 'cuda_graph', 'cuda')
        assert made.name == 'cuda_graph'


GRAPH = SimpleNamespace(input_shape=(3, 64, 64))

WITHOUT_TORCH = """
import sys
import numpy as np

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'torchvision', 'timm'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, NoTorch())
sys.modules['onnxruntime'] = None  # as if it were not installed: nothing is measured
from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.runtime import RuntimeUnavailableError

for device in ('cpu', 'auto'):
    classifier = AnytimeClassifier.from_checkpoint(sys.argv[1], device=device)
    assert classifier.runtime.name == 'openvino'
    answer = classifier.classify(np.zeros((120, 160, 3), np.uint8), budget=10.0)
    assert answer.label in classifier.labels
for asked in ({'device': 'cuda'}, {'runtime': 'eager'}):
    try:
        AnytimeClassifier.from_checkpoint(sys.argv[1], **asked)
    except RuntimeUnavailableError as error:
        assert 'needs the package torch, which is not installed' in str(error), error
    else:
        raise AssertionError(f'{asked} was accepted')
"""


def test_the_cpu_path_runs_in_a_python_without_torch():
    done = subprocess.run([sys.executable, '-c', WITHOUT_TORCH, str(DEFAULT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
