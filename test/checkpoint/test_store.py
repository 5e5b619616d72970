"""A checkpoint carries everything; a file that is not whole and consistent is refused, and says why."""

import copy
import math
import socket
import stat
from dataclasses import FrozenInstanceError

import pytest
import torch
import torchvision
from checkpoint_files import LABELS, SIZE, Shared, randomised, rewrite, shared_network, write
from safetensors.torch import load_file
from torch import nn

from impatient_ros.checkpoint import CheckpointError, Preprocessing, load, read
from impatient_ros.network import ImpatientNetwork
from impatient_ros.network.families.weights import read_state


@pytest.fixture(scope='module', autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    network = ImpatientNetwork.from_torchvision('squeezenet1_1', exits=3, classes=4, image_size=SIZE)
    network(torch.randn(4, 3, SIZE, SIZE))  # batch norm's statistics
    return network.eval()


@pytest.fixture(scope='module')
def written(network, tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'model.safetensors'
    write(network, path, accuracies=[0.5, 0.7, 0.65], temperatures=[1.5, 1.0, 0.8], provenance={'seed': 1})
    return path


def same(first, second, shape=(2, 3, SIZE, SIZE)):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return all(torch.equal(a, b) for a, b in zip(first(x), second(x), strict=True))


def test_what_is_saved_is_loaded(network, written):
    checkpoint = load(written)
    assert same(checkpoint.network, network)
    assert not any(module.training for module in checkpoint.network.modules())
    assert checkpoint.network.config == network.config
    assert checkpoint.labels == LABELS
    assert checkpoint.preprocessing == Preprocessing(SIZE, 36)
    assert checkpoint.accuracies == (0.5, 0.7, 0.65)
    assert checkpoint.accuracies_measured
    assert checkpoint.temperatures == (1.5, 1.0, 0.8)
    assert checkpoint.provenance == {'seed': 1}
    with pytest.raises(FrozenInstanceError):
        checkpoint.labels = ()


def test_the_digest_identifies_the_file(network, written, tmp_path):
    write(network, tmp_path / 'a', provenance={'seed': 2})
    write(network, tmp_path / 'b', provenance={'seed': 2})
    assert load(tmp_path / 'a').digest == load(tmp_path / 'b').digest != load(written).digest
    assert len(load(written).digest) == 64


def test_accuracies_that_nobody_measured_rise_with_depth(network, tmp_path):
    write(network, tmp_path / 'model')
    checkpoint = load(tmp_path / 'model')
    assert checkpoint.accuracies == (0.25, 0.5, 0.75)
    assert not checkpoint.accuracies_measured
    assert checkpoint.temperatures == (1.0, 1.0, 1.0)


def test_a_loaded_network_trains_and_can_be_saved_again(written, tmp_path):
    network = load(written).network.train()
    sum(scores.sum() for scores in network(torch.randn(2, 3, SIZE, SIZE))).backward()
    assert all(each.grad is not None for each in network.parameters())
    write(network.eval(), tmp_path / 'again')
    assert same(load(tmp_path / 'again').network, network)


@pytest.mark.parametrize(
    ('name', 'size', 'options'),
    [
        ('shufflenet_v2_x0_5', 32, {}),
        ('regnet_y_400mf', 32, {}),
        ('googlenet', 64, {'transform_input': True}),
        ('mnasnet0_5', 32, {'dropout': 0.5}),
    ],
)
def test_families_survive(name, size, options, tmp_path):
    network = ImpatientNetwork.from_torchvision(name, exits=3, classes=4, image_size=size, **options)
    network(torch.randn(2, 3, size, size))
    write(network.eval(), tmp_path / 'model', preprocessing=Preprocessing(size))
    assert same(load(tmp_path / 'model').network, network, (1, 3, size, size))


def test_loading_uses_no_network_and_leaves_the_random_state(written, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError('network access')

    monkeypatch.setattr(socket, 'socket', refuse)
    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', refuse)
    before = torch.get_rng_state()
    load(written)
    assert torch.equal(torch.get_rng_state(), before)


def test_channels_last_weights_survive(network, tmp_path):
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    write(last, tmp_path / 'last')
    assert same(load(tmp_path / 'last').network, network)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_stored_and_cast_on_load(network, tmp_path, dtype):
    half = copy.deepcopy(network).to(dtype)
    write(half, tmp_path / 'half')
    stored = load_file(tmp_path / 'half')
    assert stored['exits.0.classify.bias'].dtype == dtype
    loaded = load(tmp_path / 'half').network
    assert {each.dtype for each in loaded.parameters()} == {torch.float32}
    assert same(loaded, half.float())
    graph = read(tmp_path / 'half').graph
    assert {each.dtype.name for each in graph.weights.values()} == {'float32'}


def test_saving_leaves_the_network_as_it_was(network, tmp_path):
    trained = copy.deepcopy(network).train()
    trained.exits[0].eval()
    before = {name: (each, each.data_ptr()) for name, each in trained.named_parameters()}
    modes = [each.training for each in trained.modules()]
    write(trained, tmp_path / 'model')
    assert [each.training for each in trained.modules()] == modes
    for name, each in trained.named_parameters():
        assert (each, each.data_ptr()) == before[name]


def test_the_graph_and_the_network_of_a_loaded_file_hold_the_same_weights(written):
    checkpoint = load(written)
    for name, each in checkpoint.network.state_dict().items():
        if name in checkpoint.graph.weights:
            assert torch.equal(each, torch.from_numpy(checkpoint.graph.weights[name]))


def test_a_network_that_cannot_be_exported_is_saved_without_a_graph(tmp_path, caplog):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.classifier = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 4)

        def forward(self, x):
            x = self.second(torch.i0(self.first(x)))  # ONNX has no Bessel functions
            return self.classifier(x.mean((2, 3)))

    images = torch.zeros(1, 3, SIZE, SIZE)
    network = ImpatientNetwork.from_module(Own(), images, exits=2, cuts=['first']).eval()
    write(network, tmp_path / 'model')
    assert 'saved without a graph' in caplog.text
    assert read(tmp_path / 'model').graph is None
    assert same(load(tmp_path / 'model', module=Own()).network, network)


# --- modules of one's own


def test_a_network_from_a_module_is_loaded_into_that_module(tmp_path):
    network = shared_network()
    network(torch.randn(4, 3, SIZE, SIZE))
    write(network.eval(), tmp_path / 'model')
    with pytest.raises(
        CheckpointError, match=r'made from a module, .*Shared: load it with load\(path, module='
    ):
        load(tmp_path / 'model')
    module = Shared()
    loaded = load(tmp_path / 'model', module=module).network
    assert same(loaded, network)
    assert loaded.exits[-1].classifier is module.classifier


def test_shared_weights_are_stored_once_and_stay_shared(tmp_path):
    network = shared_network().eval()
    write(network, tmp_path / 'model')
    stored = load_file(tmp_path / 'model')
    assert sum('scale' in name for name in stored) == 1
    assert sum(name.endswith('block.0.weight') for name in stored) == 1
    loaded = load(tmp_path / 'model', module=Shared()).network
    assert loaded.stages[0].scale is loaded.stages[1].scale


@pytest.fixture(scope='module')
def sharing():
    """A network whose heads end in its own final layer."""
    torch.manual_seed(0)
    return randomised(
        ImpatientNetwork.from_torchvision(
            'mobilenet_v3_small', exits=3, classes=4, image_size=SIZE, head_share=3.0, head_kind='shared'
        ),
        SIZE,
    )


@pytest.mark.parametrize('half', [False, True])
def test_the_final_layer_of_sharing_heads_is_stored_once_and_stays_one(sharing, tmp_path, half):
    write(sharing, tmp_path / 'model', half=half)
    layer = [name for name, each in load_file(tmp_path / 'model').items() if list(each.shape) == [4, 1024]]
    assert len(layer) == 1
    network = load(tmp_path / 'model').network
    final = network.get_submodule('exits.2.classifier.3')
    assert all(head.classify is final for head in network.exits[:-1])
    assert isinstance(final.weight, nn.Parameter)
    if not half:
        assert same(network, sharing)
    sum(scores.square().sum() for scores in network(torch.randn(2, 3, SIZE, SIZE))).backward()
    assert final.weight.grad.abs().sum() > 0
    write(network, tmp_path / 'again')
    assert same(load(tmp_path / 'again').network, network)


def test_a_file_whose_heads_name_another_layer_is_refused(sharing, tmp_path):
    write(sharing, tmp_path / 'model')

    def elsewhere(description, metadata, tensors):
        description['network']['heads'][0]['shared']['path'] = 'features.0.0'

    rewrite(tmp_path / 'model', tmp_path / 'changed', elsewhere)
    with pytest.raises(CheckpointError, match=r'cannot be built: .* has Conv2d'):
        load(tmp_path / 'changed')


def test_a_start_from_a_file_has_shared_weights_under_all_their_names(sharing, tmp_path):
    write(sharing, tmp_path / 'model.safetensors')
    state = read_state(tmp_path / 'model.safetensors')
    assert state.keys() - {'graph'} == sharing.state_dict().keys()
    assert all(torch.equal(each, state[name]) for name, each in sharing.state_dict().items())


def test_a_module_that_does_not_fit_is_refused(written, tmp_path):
    write(shared_network().eval(), tmp_path / 'model')
    other = Shared()
    other.block[0] = nn.Conv2d(8, 8, 5, padding=2)
    with pytest.raises(CheckpointError, match=r'block.0.weight is .* instead of'):
        load(tmp_path / 'model', module=other)
    with pytest.raises(CheckpointError, match=r'cannot be built: .*has no'):
        load(tmp_path / 'model', module=torchvision.models.resnet18(num_classes=4))
    with pytest.raises(CheckpointError, match='load it without module'):
        load(written, module=Shared())


# --- what is refused


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'labels': LABELS[:3]}, '3 labels for 4 classes'),
        ({'labels': ('a', 'b', 'c', '')}, 'not empty'),
        ({'labels': ('a', 'b', 'c', 4)}, 'labels: each must be text'),
        ({'accuracies': [0.5, 0.6]}, '2 accuracies for 3 exits'),
        ({'accuracies': [0.5, 0.6, 1.2]}, 'accuracies: 1.2 is not between 0 and 1'),
        ({'accuracies': [0.5, 0.6, math.nan]}, 'nan is not a finite number'),
        ({'temperatures': [1, 1, 0]}, 'temperatures: 0.0 is not between'),
        ({'temperatures': [1, 1, math.inf]}, 'inf is not a finite number'),
        ({'temperatures': [1]}, '1 temperatures for 3 exits'),
        ({'provenance': {'loss': math.nan}}, 'loss: nan'),
        ({'provenance': {'tensor': torch.zeros(1)}}, 'JSON cannot'),
        (
            {'preprocessing': Preprocessing(64)},
            r'preprocessing makes images of \(64, 64\), the network takes \[32, 32\]',
        ),
    ],
)
def test_what_does_not_fit_is_not_saved_and_leaves_the_old_file(network, tmp_path, values, message):
    path = tmp_path / 'model'
    path.write_text('old')
    with pytest.raises(CheckpointError, match=message):
        write(network, path, **values)
    assert path.read_text() == 'old'
    assert [each.name for each in tmp_path.iterdir()] == ['model']


def test_weights_that_are_not_finite_are_not_saved(network, tmp_path):
    broken = copy.deepcopy(network)
    with torch.no_grad():
        next(broken.parameters())[0] = math.nan
    with pytest.raises(
        CheckpointError, match=r'stages\.0\.features\.0\.weight has values that are not finite'
    ):
        write(broken, tmp_path / 'model')


def test_a_file_is_replaced_in_one_step(network, tmp_path, monkeypatch):
    path = tmp_path / 'model'
    write(network, path)
    whole = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) & 0o444

    def fail(descriptor):
        raise OSError('no space left on device')

    monkeypatch.setattr('os.fsync', fail)
    with pytest.raises(OSError, match='no space'):
        write(network, path, provenance={'new': True})
    assert path.read_bytes() == whole
    assert [each.name for each in tmp_path.iterdir()] == ['model']
