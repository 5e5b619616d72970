import pytest
import torch

from impatient_ros.checkpoint import load
from impatient_ros.resources import resource_path
from impatient_ros.runtime.cuda import precision
from impatient_ros.runtime.cuda.precision import chosen_precision, half_precision_disagreement


def test_auto_takes_the_first_of_f16_and_bf16_that_leaves_the_classes_as_they_are(monkeypatch):
    def chosen(shares, capability):
        asked = []

        def disagreement(network, device, dtype):
            asked.append(dtype)
            return shares[dtype]

        monkeypatch.setattr(precision, 'half_precision_disagreement', disagreement)
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: capability)
        return chosen_precision('a network', torch.device('cuda')), asked

    f16, bf16 = torch.float16, torch.bfloat16
    assert chosen({f16: [0.001, 0.002]}, (9, 0)) == ('f16', [f16])
    overflows = {f16: [0.0, 1.0], bf16: [0.002, 0.0]}
    assert chosen(overflows, (8, 0)) == ('bf16', [f16, bf16])
    assert chosen(overflows, (7, 5)) == ('f32', [f16])  # bf16 would be emulated
    assert chosen({f16: [0.003], bf16: [0.003]}, (9, 0)) == ('f32', [f16, bf16])


def test_labelled_pictures_say_more_than_random_ones(monkeypatch):
    asked = []
    monkeypatch.setattr(
        precision, 'half_precision_disagreement', lambda network, device, dtype: asked.append(dtype) or [0.0]
    )
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (9, 0))

    def chosen(**kept):
        return chosen_precision('a network', torch.device('cuda'), accuracy_kept=kept)

    assert chosen(bf16=True) == chosen(bf16=True, f16=False) == 'bf16'
    assert chosen(bf16=True, f16=True) == 'f16'
    assert chosen(bf16=False, f16=False) == 'f32'
    assert asked == []
    assert chosen(f16=False, int8=True) == 'bf16'
    assert asked == [torch.bfloat16]
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (7, 5))
    assert chosen(bf16=True, f16=False) == 'f32', 'bf16 would be emulated'


def test_what_was_found_is_kept_for_a_model_on_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    asked = []
    monkeypatch.setattr(
        precision, 'half_precision_disagreement', lambda network, *_: asked.append(network) or [0.0]
    )
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (9, 0))
    gpu = 'one'
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: gpu)
    for model in ('a', 'a', 'b'):
        assert chosen_precision(model, torch.device('cuda'), digest=model) == 'f16'
    assert asked == ['a', 'b']
    [first, _] = sorted((tmp_path / 'impatient_ros' / 'precision').iterdir())
    first.write_text('{"precision": "f64"}')  # damaged: made anew
    for model in ('a', 'b'):
        assert chosen_precision(model, torch.device('cuda'), digest=model) == 'f16'
    assert len(asked) == 3
    gpu = 'another'
    chosen_precision('a', torch.device('cuda'), digest='a')
    assert len(asked) == 4


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_16_bits_are_compared_exit_by_exit_where_the_network_stays_as_it_is(monkeypatch, dtype):
    monkeypatch.setattr(precision, 'PROBES', 8)
    monkeypatch.setattr(precision, 'PROBE_BATCH', 4)
    network = load(resource_path('models', 'clothing10.safetensors')).network
    before = network.state_dict()['stages.0.conv1.0.weight'].clone()
    found = half_precision_disagreement(network, torch.device('cpu'), dtype)
    assert len(found) == 5
    assert all(0 <= share < 0.5 for share in found)
    after = network.state_dict()['stages.0.conv1.0.weight']
    assert after.dtype == before.dtype == torch.float32
    assert torch.equal(before, after)
