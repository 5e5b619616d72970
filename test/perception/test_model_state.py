"""What the node says of its model, with a real classifier on a simulated runtime."""

from types import SimpleNamespace

import pytest
from answers import path
from simulation import Clock, SimulatedRuntime, checkpoint, profile

from impatient_ros.anytime import AnytimeClassifier, FrameRequest
from impatient_ros.perception.model_state import LoadedModel, ModelState, model_state


def loaded():
    clock = Clock()
    classifier = AnytimeClassifier(checkpoint(clock=clock), SimulatedRuntime(clock), [profile()], clock=clock)
    return LoadedModel('some.safetensors', classifier)


def test_without_a_model_there_is_the_state_alone():
    found = model_state('unconfigured', None, active_for=0.0, mode='adaptive', reserve=None)
    assert found == ModelState('unconfigured')


def test_a_model_tells_what_runs_it_and_what_it_has_learned():
    model = loaded()
    before = model_state('active', model, active_for=3.0, mode='contract', reserve=0.002)
    assert (before.state, before.active_for, before.mode, before.reserve) == (
        'active',
        3.0,
        'contract',
        0.002,
    )
    assert before.model == 'some.safetensors'
    assert before.runtime == model.classifier.runtime.name
    assert before.exits == model.classifier.exits
    assert before.resolutions == model.classifier.resolutions
    assert before.slowdown == 1.0
    assert (before.prediction_error, before.overruns) == (None, {})
    model.classifier.run(FrameRequest(None, lambda: 1e9, camera='front'))
    after = model_state('active', model, active_for=3.0, mode='contract', reserve=0.002)
    assert after.prediction_error is not None
    assert list(after.overruns) == ['front']


def test_the_latencies_are_those_of_the_profile():
    model = loaded()
    costs = model.classifier.costs('contract').values()
    assert model.latencies == f'median {", ".join(f"{cost * 1e3:.1f}" for cost in costs)} ms'
    assert f'{model.classifier.exits} exits on {model.classifier.runtime.name}' in model.description


@pytest.mark.parametrize(
    ('exits', 'description'),
    [
        (
            1,
            '2 resolutions (96 to 160 px) of 1 exit on openvino (cpu, bf16), '
            'median 96 px: 1.0; 160 px: 2.5 ms',
        ),
        (
            2,
            '2 resolutions (96 to 160 px) of 2 exits on openvino (cpu, bf16), '
            'median 96 px: 1.0, 2.0; 160 px: 2.5, 5.0 ms',
        ),
    ],
)
def test_with_several_resolutions_each_has_latencies_of_its_own(exits, description):
    def costs(mode):
        paths = [path(t, side) for t in range(exits) for side in (160, 96)]  # in any order
        return {each: (0.001 if each.resolution == 96 else 0.0025) * (each.exit_index + 1) for each in paths}

    runtime = SimpleNamespace(name='openvino', device='cpu', precision='bf16')
    classifier = SimpleNamespace(runtime=runtime, exits=exits, resolutions=(96, 160), costs=costs)
    assert LoadedModel('some.safetensors', classifier).description == description
