import numpy as np
import pytest

from impatient_ros.checkpoint import load, read
from impatient_ros.resources import resource_path
from impatient_ros.runtime import RuntimeUnavailableError, Source, select_runtime

pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from runtime.staged import expected, image, network, resolutions

DEFAULT = resource_path('models', 'clothing10.safetensors')


def test_every_way_to_an_exit_answers_as_in_torch():
    file, of = read(DEFAULT), load(DEFAULT).network
    runtime = select_runtime(Source((file.graph,)), 'onnxruntime', 'cpu')
    assert (runtime.name, runtime.describe()['threads']) == ('onnxruntime', 1)
    picture = image(of)
    every, stepwise = runtime.start(picture), runtime.start(picture)
    for t, wanted in enumerate(expected(of, picture)):
        path = runtime.start(picture)
        path.stage(t)
        every.stage(t)
        stepwise.stage()
        for run in (path, every, stepwise):
            assert np.abs(run.exit() - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())


def test_a_run_is_at_the_resolution_of_its_image():
    networks, graphs = resolutions(network(size=64), (32, 64))
    runtime = select_runtime(Source(graphs), 'onnxruntime', 'cpu')
    assert runtime.sides == (32, 64)
    for of in (*networks, *reversed(networks)):
        picture = image(of)
        run = runtime.start(picture)
        for t, wanted in enumerate(expected(of, picture)):
            run.stage(t)
            assert np.abs(run.exit() - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())


def test_what_it_refuses_is_refused_with_its_reason(monkeypatch):
    import onnxruntime

    def refuse(*_, **__):
        raise ValueError('no such operator')

    monkeypatch.setattr(onnxruntime, 'InferenceSession', refuse)
    with pytest.raises(RuntimeUnavailableError, match='no such operator') as caught:
        select_runtime(Source((read(DEFAULT).graph,)), 'onnxruntime', 'cpu')
    assert isinstance(caught.value.__cause__, ValueError)
