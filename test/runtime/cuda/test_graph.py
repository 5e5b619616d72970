"""What needs a CUDA device is skipped without one; what a run enqueues is decided without."""

import copy
import gc

import numpy as np
import pytest
import torch

from impatient_ros.checkpoint import load
from impatient_ros.resources import resource_path
from impatient_ros.runtime import RuntimeUnavailableError, Source, select_runtime
from impatient_ros.runtime.cuda.graph import CudaGraphRuntime, _GraphRun
from impatient_ros.runtime.cuda.precision import half_precision_disagreement

pytestmark = pytest.mark.cuda
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')


# Of the largest score; bf16 errs by up to 0.014 of it on a processor, f16 by 0.002.
TOLERANCES = {'f32': 1e-3, 'f16': 5e-2, 'bf16': 5e-2}


@pytest.fixture(scope='module')
def checkpoint():
    return load(resource_path('models', 'clothing10.safetensors'))


@pytest.fixture(scope='module')
def runtimes(checkpoint):
    device = torch.device('cuda')
    return {
        precision: CudaGraphRuntime(copy.deepcopy(checkpoint.network), device, precision=precision)
        for precision in TOLERANCES
    }


def picture(seed=1):
    return np.random.default_rng(seed).normal(size=(1, 3, 128, 128)).astype(np.float32)


def expected(checkpoint, image):
    with torch.inference_mode():
        return [scores[0].numpy() for scores in checkpoint.network.cpu()(torch.from_numpy(image))]


@needs_cuda
@pytest.mark.parametrize('precision', TOLERANCES)
def test_every_way_to_an_exit_answers_as_the_cpu(checkpoint, runtimes, precision):
    runtime = runtimes[precision]
    assert runtime.precision == runtime.describe()['precision'] == precision
    for seed in (1, 2):
        image = picture(seed)
        wanted = expected(checkpoint, image)
        limit = TOLERANCES[precision] * max(1.0, max(np.abs(scores).max() for scores in wanted))
        every = runtime.start(image)
        for t in range(runtime.exits):
            every.stage(t, t + 1)  # one stage ahead
            assert every.ready
            assert np.abs(every.exit() - wanted[t]).max() < limit
            path = runtime.start(image)
            path.stage(t)
            assert np.abs(path.exit() - wanted[t]).max() < limit
            stepwise = runtime.start(image)
            for _ in range(t + 1):
                stepwise.stage()
            assert np.abs(stepwise.exit() - wanted[t]).max() < limit
            every = runtime.start(image)
            for done in range(t + 1):
                every.stage(done, done + 1)
                every.exit()


@needs_cuda
def test_the_default_model_answers_as_the_cpu_at_every_resolution_long_after_it_was_captured():
    default = load(resource_path('models', 'imagenet.safetensors'))
    sides = tuple(each.side for each in default.resolutions)
    runtime = CudaGraphRuntime(
        copy.deepcopy(default.network), torch.device('cuda'), precision='f32', sides=sides
    )
    gc.collect()
    # What is no longer held is overwritten: graphs know nothing but addresses.
    noise = [torch.full((1 << 20,), torch.nan, device='cuda') for _ in range(256)]
    for side in sides:
        image = np.random.default_rng(side).normal(size=(1, 3, side, side)).astype(np.float32)
        network = default.network.at(side)  # which is cut outside of inference mode
        with torch.inference_mode():
            wanted = network(torch.from_numpy(image))[0][0].numpy()
        run = runtime.start(image)
        run.stage(0)
        assert np.abs(run.exit() - wanted).max() < 5e-3 * np.abs(wanted).max()  # convolutions may be TF32
    del noise


@needs_cuda
def test_a_picture_is_prepared_on_the_device(checkpoint, runtimes):
    rgb = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    wanted = expected(checkpoint, checkpoint.preprocessing(rgb))
    run = runtimes['f32'].begin(rgb, checkpoint.preprocessing)
    run.stage(4)
    assert np.abs(run.exit() - wanted[4]).max() < 0.1 * np.abs(wanted[4]).max()


@needs_cuda
def test_auto_takes_it_on_a_gpu_and_16_bits_where_the_classes_hold(checkpoint):
    runtime = select_runtime(Source(network=lambda: copy.deepcopy(checkpoint.network)), 'auto', 'cuda')
    assert runtime.name == 'cuda_graph'
    disagreement = half_precision_disagreement(copy.deepcopy(checkpoint.network).cuda(), torch.device('cuda'))
    assert (runtime.precision == 'f16') == (max(disagreement) <= 0.002)


@pytest.mark.parametrize('device', ['cpu', 'auto'])
def test_without_a_gpu_it_is_refused_with_what_to_write(checkpoint, device):
    if device == 'auto' and torch.cuda.is_available():
        pytest.skip('there is a CUDA device')
    with pytest.raises(RuntimeUnavailableError, match='write runtime auto or openvino or'):
        select_runtime(Source(network=lambda: checkpoint.network), 'cuda_graph', device)


def test_an_unknown_precision_is_refused_with_what_to_write(checkpoint):
    with pytest.raises(ValueError, match=r"precision is 'half'; write one of auto, f32, f16, bf16"):
        CudaGraphRuntime(checkpoint.network, torch.device('cuda'), precision='half')


class Recorder:
    """Stands in for the runtime: notes what a run enqueues and waits for."""

    exits = 4

    def __init__(self):
        self.did = []

    def __getattr__(self, name):
        return lambda index=None, *_: self.did.append(name if index is None else f'{name} {index}')


@pytest.fixture
def run():
    recorder = Recorder()
    made = _GraphRun(recorder, None)
    return made, recorder.did


def test_a_contract_path_is_one_launch(run):
    made, did = run
    made.stage(2)
    made.exit()
    assert did == ['launch_path 2', 'harvest 2']


def test_one_stage_is_ahead_of_the_scores_that_are_waited_for_and_never_two(run):
    made, did = run
    for t in range(4):
        made.stage(t, t + 1)
        made.exit()
    assert did == [
        'stage 0', 'launch_exit 0', 'stage 1', 'harvest 0', 'launch_exit 1', 'stage 2', 'harvest 1',
        'launch_exit 2', 'stage 3', 'harvest 2', 'launch_exit 3', 'harvest 3',
    ]  # fmt: skip


@pytest.mark.parametrize('then', [None, 2])
def test_nothing_is_ahead_where_the_plan_expects_no_next_exit_or_skips_it(run, then):
    made, did = run
    made.stage(0, then)
    assert did == ['stage 0', 'launch_exit 0']


def test_without_a_certain_exit_the_device_is_waited_for_before_the_next_decision(run):
    made, did = run
    made.stage()
    assert did == ['stage 0', 'wait']
    made.exit()
    assert did[2:] == ['launch_exit 0', 'harvest 0']
