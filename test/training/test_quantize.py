"""python -m training.quantize: a network in int8 beside its weights, executed by both runtimes of the CPU."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import randomised

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.anytime.loading import source_of
from impatient_ros.checkpoint import Preprocessing, read, save
from impatient_ros.checkpoint.precisions import Drop, PrecisionRecord
from impatient_ros.checkpoint.reading import contents_of
from impatient_ros.runtime import select_runtime
from training.model.networks import NetworkOptions, build
from training.quantization import search
from training.quantize import main

pytestmark = [
    # It is not imported here: `import_package` does that, without the package that would tell its makers.
    pytest.mark.skipif(find_spec('nncf') is None, reason='needs NNCF'),
    pytest.mark.usefixtures('one_thread'),
    # NNCF's own, and those of what it imports.
    pytest.mark.filterwarnings('ignore'),
]


def checkpoint(path: Path, resolutions: tuple[int, ...] = ()) -> Path:
    torch.manual_seed(0)
    name, options = 'training.model.small_backbones.SmallResNet', {'widths': [8, 16], 'blocks': 1}
    wanted = NetworkOptions(module=name, module_options=options, exits=2)
    save(
        randomised(build(wanted, classes=3, image_size=(32, 32)), 32),
        path,
        labels=['disc', 'ring', 'square'],
        preprocessing=Preprocessing(32, 32),
        resolutions=resolutions,
        provenance={'network': {'module': name, 'module_options': options}},
    )
    return path


def command(model: Path, shapes: Path, out: Path) -> list[str]:
    options = ['--data', str(shapes / 'train'), '--validation', str(shapes), '--split', 'validation']
    return [str(model), *options, '--out', str(out), '--pictures', '20']


@pytest.fixture(scope='module')
def quantised(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint of two resolutions, before and after."""
    folder = tmp_path_factory.mktemp('quantize')
    model, new = checkpoint(folder / 'model.safetensors', (24, 32)), folder / 'new' / 'int8.safetensors'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(folder))
        patch.setattr(search, 'MOST_DROP', 1.0)  # the first try is taken
        assert main(command(model, shapes, new)) == 0
    return model, new


def test_the_file_has_a_graph_in_int8_that_shares_every_weight(quantised: tuple[Path, Path]) -> None:
    model, new = quantised
    before, after = contents_of(model), contents_of(new)
    assert before.tensors.keys() == after.tensors.keys()
    assert after.graphs.keys() - before.graphs.keys() == {'graph_int8'}
    file = read(new)
    assert [graph.input_shape for graph in file.quantised] == [(3, 24, 24), (3, 32, 32)]
    kinds = [node.op_type for node in file.quantised[-1].model.graph.node]
    assert kinds.count('QuantizeLinear') > 5
    record = file.precisions['int8']
    assert record.pictures == 30
    assert len(record.accuracies) == 2
    assert 'validation, 30 pictures, openvino on' in record.measured
    assert '2 of ' in record.measured, "the exits' scores are computed in single precision"
    assert [path.accuracy for path in file.at_precision('int8').paths] != [
        path.accuracy for path in file.paths
    ]


@pytest.mark.parametrize('name', ['openvino', 'onnxruntime'])
@pytest.mark.parametrize('side', [24, 32])
def test_both_runtimes_execute_it_at_every_resolution(quantised, name: str, side: int) -> None:
    file = read(quantised[1])
    source = source_of(file, quantised[1])
    image = np.random.default_rng(1).normal(size=(1, 3, side, side)).astype(np.float32)
    found = {}
    for precision in ('f32', 'int8'):
        runtime = select_runtime(source, name, 'cpu', threads=1, precision=precision)
        assert runtime.precision == runtime.describe()['precision'] == precision
        run = runtime.start(image)
        run.stage()
        run.exit()
        run.stage()
        found[precision] = run.exit()
    largest = np.abs(found['f32']).max()
    assert 0 < np.abs(found['int8'] - found['f32']).max() < 0.2 * largest


def test_a_profile_belongs_to_one_precision(quantised, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    for precision, known in (('f32', 1), ('int8', 2), ('auto', 2)):
        clf = AnytimeClassifier.from_checkpoint(
            quantised[1], 'cpu', 'openvino', precision=precision, cpu_threads=1
        )
        profiles = list((tmp_path / 'impatient_ros' / 'latency').iterdir())
        assert len(profiles) == known
        # 30 pictures show nothing: auto stays in single precision.
        assert clf.runtime.precision == ('int8' if precision == 'int8' else 'f32')
        record = clf.checkpoint.precisions['int8']
        accuracies = tuple(clf.checkpoint.resolutions[-1].accuracies)
        assert (accuracies == record.accuracies[-1]) == (precision == 'int8')


def test_nothing_reports_to_the_makers_of_what_is_used() -> None:
    """In a process of its own: another test may have imported OpenVINO as it is."""
    code = """
        import sys
        from impatient_ros.runtime.packages import import_package
        import_package('nncf', 'a test', 'nothing')
        assert sys.modules['openvino_telemetry'] is None
        from nncf.telemetry.wrapper import telemetry
        assert type(telemetry).__name__ == 'MagicMock', 'what it takes where nothing can be sent'
    """
    subprocess.run([sys.executable, '-c', textwrap.dedent(code)], check=True, capture_output=True)


@pytest.mark.slow  # six networks are quantised
def test_sensitive_layers_stay_in_single_precision_until_the_limit_holds(
    shapes: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Losses as they could be: they fall with every layer that is left."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    model, tries = checkpoint(tmp_path / 'model.safetensors'), []
    real = search.quantized

    def quantized(graph, pictures, kept):
        tries.append(tuple(kept))
        return real(graph, pictures, kept)

    losses: list[float] = []

    def compared(single, other, measured):
        loss = losses[len(tries) - 1]
        drop = Drop(loss, loss - 0.01, loss + 0.01)
        return PrecisionRecord(
            pictures=30,
            measured=measured,
            accuracies=((0.5, 0.5),),
            temperatures=((1.0, 1.0),),
            drops=((Drop(0.0, 0.0, 0.0), drop),),
        )

    monkeypatch.setattr(search, 'quantized', quantized)
    monkeypatch.setattr(search, 'compared', compared)
    monkeypatch.setattr(search, 'SHARES', (0.01, 0.02, 0.3))  # of so few layers the first two are the same
    losses[:] = [0.1, 0.05, 0.002]
    assert main(command(model, shapes, tmp_path / 'a')) == 0
    assert [len(each) for each in tries] == sorted({len(each) for each in tries})
    assert len(tries) == 3
    assert all(set(few) < set(more) for few, more in pairwise(tries))
    assert read(tmp_path / 'a').precisions['int8'].drops[0][1].mean == 0.002
    capsys.readouterr()
    tries.clear()
    losses[:] = [0.1, 0.03, 0.05]
    assert main(command(model, shapes, tmp_path / 'b')) == 0
    assert read(tmp_path / 'b').precisions['int8'].drops[0][1].mean == 0.03, 'the best of them is kept'
    assert 'this one loses least' in capsys.readouterr().out


def test_what_cannot_be_used_is_named(shapes: Path, tmp_path: Path, capsys) -> None:
    model = checkpoint(tmp_path / 'model.safetensors')
    assert main([*command(model, shapes, tmp_path / 'new'), '--data', str(tmp_path / 'nowhere')]) == 2
    assert 'nowhere' in capsys.readouterr().err
    assert not (tmp_path / 'new').exists()
