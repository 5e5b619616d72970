"""A checkpoint of several resolutions: each path answers as the uncut classifier does at that size."""

import copy
import zlib

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from checkpoint_files import LABELS, SIZE, Shared, randomised, rewrite, write
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from impatient_ros.checkpoint import CheckpointError, Path, Preprocessing, load, read
from impatient_ros.checkpoint.__main__ import main
from impatient_ros.checkpoint.graph import logits
from impatient_ros.checkpoint.store import rounded_to_half
from impatient_ros.network import ImpatientNetwork


@pytest.fixture(scope='module', autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: x})


def image(side):
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(side))


def close(found, wanted):
    wanted = wanted.numpy()
    assert np.ptp(wanted) > 1e-3  # an answer, not a constant
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-4 * np.abs(wanted).max())


@torch.no_grad()
def check_paths(file, network, original):
    """Every path's graph, against the network in torch and its last one against the classifier itself."""
    for resolution in file.resolutions:
        x = image(resolution.side)
        found = run(resolution.graph.part(0, [logits(t) for t in range(file.exits)]), x.numpy())
        for ours, theirs in zip(found, network.at(resolution.side)(x), strict=True):
            close(ours, theirs)
        close(found[-1], original(x))


class Same(nn.Module):
    """A convolution padded as TensorFlow does, by the size of what comes: odd sizes otherwise than even."""

    def __init__(self, channels):
        super().__init__()
        self.convolution = nn.Conv2d(channels, 8, 3, 2)

    def forward(self, x):
        height, width = (max((-(-side // 2) - 1) * 2 + 3 - side, 0) for side in x.shape[-2:])
        x = functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return functional.relu(self.convolution(x))


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.classifier = Same(3), Same(8), nn.Linear(8, 4)

    def forward(self, x):
        return self.classifier(self.second(self.first(x)).mean((2, 3)))


class Flat(nn.Module):
    """Has the number of its pixels as a constant of its graph."""

    def __init__(self):
        super().__init__()
        self.first, self.classifier = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 4)

    def forward(self, x):
        x = self.first(x)
        return self.classifier(x.view(x.shape[0], 8, x.shape[2] * x.shape[3]).mean(2))


SIDES = (18, 24, SIZE)


@pytest.fixture(scope='module')
def module():
    torch.manual_seed(0)
    return Padded().eval()


@pytest.fixture(scope='module')
def network(module):
    network = ImpatientNetwork.from_module(module, torch.zeros(1, 3, SIZE, SIZE), exits=2, cuts=['first'])
    return randomised(network, SIZE)


MEASURED = {
    'accuracies': [[0.2, 0.4], [0.3, 0.5], [0.35, 0.7]],
    'temperatures': [[1, 2], [3, 4], [5, 6]],
}


@pytest.fixture(scope='module')
def path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp('resolutions') / 'model.safetensors'
    write(network, path, resolutions=SIDES, **MEASURED)
    return path


def test_every_path_answers_as_the_uncut_classifier(path, network, module):
    check_paths(read(path), network, module)


@pytest.mark.parametrize(
    ('kind', 'sides', 'own'),
    [
        (Padded, (18, 24, SIZE), {'graph_18'}),
        (Shared, (18, 24, SIZE), set()),
        (Flat, (24, SIZE), {'graph_24'}),
    ],
)
def test_a_graph_is_stored_only_where_it_differs_in_more_than_sizes(kind, sides, own, tmp_path):
    module = kind().eval()
    network = ImpatientNetwork.from_module(module, torch.zeros(1, 3, SIZE, SIZE), exits=1).eval()
    write(network, tmp_path / 'model', resolutions=sides)
    stored = {name for name in load_file(tmp_path / 'model') if name.startswith('graph')}
    assert stored == {'graph', *own}
    check_paths(read(tmp_path / 'model'), network, module)


def test_a_file_says_what_is_known_of_each_path(path):
    file = read(path)
    assert [each.side for each in file.resolutions] == list(SIDES)
    assert [each.preprocessing for each in file.resolutions] == [Preprocessing(SIZE, 36).at(s) for s in SIDES]
    assert [list(each.accuracies) for each in file.resolutions] == MEASURED['accuracies']
    assert [list(each.temperatures) for each in file.resolutions] == MEASURED['temperatures']
    assert [each.graph.input_shape for each in file.resolutions] == [(3, side, side) for side in SIDES]
    own = file.resolutions[-1]
    assert (file.accuracies, file.temperatures, file.preprocessing, file.graph) == (
        own.accuracies,
        own.temperatures,
        own.preprocessing,
        own.graph,
    )
    assert [each.macs for each in file.paths] == sorted(each.macs for each in file.paths)
    assert len(file.paths) == 6
    assert file.paths[-1] == Path(SIZE, 1, own.macs[1], 0.7, 6.0)


def test_the_macs_are_those_of_the_network_at_that_size(path, network):
    for each in read(path).resolutions:
        assert each.macs == network.at(each.side).costs()
    assert read(path).resolutions[0].macs[-1] < read(path).resolutions[-1].macs[-1] / 2


def test_all_graphs_use_the_same_weights_in_memory(network, tmp_path):
    write(network, tmp_path / 'half', resolutions=SIDES, half=True)
    first, *others = [each.graph.weights for each in read(tmp_path / 'half').resolutions]
    for other in others:
        assert all(other[name] is first[name] for name in other)


def test_accuracies_that_nobody_measured_rise_with_the_work(network, tmp_path):
    write(network, tmp_path / 'model', resolutions=SIDES)
    file = read(tmp_path / 'model')
    assert not file.accuracies_measured
    accuracies = [each.accuracy for each in file.paths]
    assert accuracies == sorted(set(accuracies))
    assert 0 < accuracies[0] < accuracies[-1] < 1


def test_a_file_without_resolutions_has_its_own_one(network, tmp_path):
    write(network, tmp_path / 'model', accuracies=[0.5, 0.7])
    (own,) = read(tmp_path / 'model').resolutions
    assert (own.side, own.accuracies, own.macs) == (SIZE, (0.5, 0.7), network.costs())
    assert own.preprocessing == Preprocessing(SIZE, 36)


def test_the_loaded_network_has_the_resolutions(path, network, module):
    loaded = load(path, module=copy.deepcopy(module))
    assert [each.side for each in loaded.resolutions] == list(SIDES)
    with torch.no_grad():
        for side in SIDES:
            for a, b in zip(loaded.network.at(side)(image(side)), network.at(side)(image(side)), strict=True):
                torch.testing.assert_close(a, b)


def test_converting_keeps_the_resolutions_and_the_precision(tmp_path):
    torch.manual_seed(0)
    network = ImpatientNetwork.from_torchvision('squeezenet1_1', exits=2, classes=4, image_size=64).eval()
    old, new = tmp_path / 'old', tmp_path / 'new'
    values = {'resolutions': (48, 64), 'accuracies': [[0.1, 0.2], [0.3, 0.4]], 'half': True}
    write(network, old, preprocessing=Preprocessing(64), **values)
    assert main(['convert', str(old), str(new)]) == 0
    before, after = read(old), read(new)
    assert after.paths == before.paths
    assert (before.half, after.half) == (True, True)
    assert new.stat().st_size == old.stat().st_size


def test_half_precision_rounds_what_has_several_axes(network, tmp_path):
    write(network, tmp_path / 'half', half=True)
    kinds = {each.dtype for name, each in load_file(tmp_path / 'half').items() if each.ndim > 1}
    assert kinds == {torch.float16}
    rounded = copy.deepcopy(network)
    rounded_to_half(rounded)
    loaded = load(tmp_path / 'half', module=Padded()).network
    for name, each in loaded.state_dict().items():
        assert each.dtype != torch.float16
        assert torch.equal(each, rounded.state_dict()[name])
    assert not torch.equal(
        loaded.state_dict()['stages.0.first.convolution.weight'],
        network.state_dict()['stages.0.first.convolution.weight'],
    )


# --- what is refused when saving


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'resolutions': [24]}, 'the last is the own one, 32x32'),
        ({'resolutions': [24, 24, SIZE]}, 'they ascend'),
        ({'resolutions': [24, 18, SIZE]}, 'they ascend'),
        ({'resolutions': [SIZE, 40]}, 'the last is the own one'),
        ({'resolutions': [0, SIZE]}, 'write a whole number of pixels'),
        ({'resolutions': [24, SIZE], 'accuracies': [0.1, 0.2]}, 'one sequence for each of the 2'),
        ({'resolutions': [24, SIZE], 'accuracies': [[0.1, 0.2]]}, 'one sequence for each of the 2'),
        (
            {'resolutions': [24, SIZE], 'accuracies': [[0.1], [0.1, 0.2]]},
            'at 24 px: 1 accuracies for 2 exits',
        ),
        ({'resolutions': [24, SIZE], 'temperatures': [[1, 0], [1, 1]]}, 'at 24 px: temperatures: 0.0'),
    ],
)
def test_resolutions_that_do_not_fit_are_not_saved(network, tmp_path, values, message):
    with pytest.raises(CheckpointError, match=message):
        write(network, tmp_path / 'model', **values)
    assert not (tmp_path / 'model').exists()


def test_a_network_of_one_size_has_one_resolution(tmp_path):
    network = ImpatientNetwork.from_torchvision('vit_b_32', exits=2, classes=4, image_size=64)
    with pytest.raises(CheckpointError, match=r'no resolution of 32 px: .*Expected 64 but got 32'):
        write(network, tmp_path / 'model', resolutions=[32, 64], preprocessing=Preprocessing(64))


def test_images_that_are_no_squares_have_one_size(tmp_path):
    network = ImpatientNetwork.from_module(Padded(), torch.zeros(1, 3, 32, 48), exits=1)
    size = Preprocessing((32, 48), 32)
    with pytest.raises(CheckpointError, match='the last is the own one, 32x48'):
        write(network, tmp_path / 'model', resolutions=[24, 32], preprocessing=size)
    write(network, tmp_path / 'model', preprocessing=size)
    assert [each.side for each in read(tmp_path / 'model').resolutions] == [32]


# --- what is refused when reading


def packed(data):
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy())


def first(description):
    return description['resolutions'][0]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda d, t: d.update(resolutions='all'), "resolutions is 'all'"),
        (lambda d, t: d.update(resolutions=[1]), r'resolutions is \[1\]'),
        (lambda d, t: d.update(resolutions=[first(d)] * 32), 'at most 32'),
        (lambda d, t: first(d).update(side='18'), 'not whole numbers that ascend'),
        (lambda d, t: first(d).update(side=-18), 'not whole numbers that ascend'),
        (lambda d, t: first(d).update(side=24), 'not whole numbers that ascend'),
        (lambda d, t: d['resolutions'][1].update(side=SIZE), 'not whole numbers that ascend'),
        (lambda d, t: first(d).update(accuracies=None), 'at 18 px: all are measured or none'),
        (lambda d, t: d.update(accuracies=None), 'at 18 px: all are measured or none'),
        (lambda d, t: first(d).update(accuracies=[0.5]), 'at 18 px: 1 accuracies for 2 exits'),
        (lambda d, t: first(d).update(temperatures=[0.0, 1.0]), 'at 18 px: temperatures: 0.0 is not between'),
        (lambda d, t: first(d).update(macs=[1]), r'at 18 px: macs is \[1\] for 2 exits'),
        (lambda d, t: first(d).update(macs=[1, 1 << 70]), 'at 18 px: macs is'),
        (lambda d, t: first(d).pop('macs'), 'at 18 px: macs is missing'),
        (lambda d, t: t.pop('graph'), 'lacks the graph of its largest resolution'),
        (lambda d, t: t.update(graph_20=t['graph_18'].clone()), 'nothing uses its tensor graph_20'),
        (lambda d, t: t.update(graph_18=torch.zeros(2)), 'its graph_18 is float32'),
        (lambda d, t: t.update(graph_18=t['graph'].clone()), 'graph_18 cannot be inflated'),
        (lambda d, t: t.update(graph_18=t['graph_18'][:-9]), 'cut off'),
        (lambda d, t: t.update(graph_18=torch.cat([t['graph_18']] * 2)), 'followed by something else'),
        (lambda d, t: t.update(graph_18=packed(zlib.compress(bytes(50 << 20)))), 'takes 4194305 bytes'),
        (lambda d, t: t.update(graph_24=t['graph_18'].clone()), r'at 24 px: .* images of \[1, 3, 24'),
    ],
)  # fmt: skip
def test_a_file_that_is_not_consistent_is_refused(path, tmp_path, change, message):
    changed = rewrite(path, tmp_path / 'changed', lambda d, m, t: change(d, t))
    with pytest.raises(CheckpointError, match=message) as refused:
        read(changed)
    assert len(str(refused.value)) < 500


def test_a_graph_that_holds_at_its_own_size_only_is_refused_at_others(tmp_path):
    network = ImpatientNetwork.from_module(Flat(), torch.zeros(1, 3, SIZE, SIZE), exits=1).eval()
    write(network, tmp_path / 'model', resolutions=[24, SIZE])
    without = rewrite(tmp_path / 'model', tmp_path / 'without', lambda d, m, t: t.pop('graph_24'))
    with pytest.raises(CheckpointError, match=r'at 24 px: .* cannot become'):
        read(without)


# --- real classifiers, the way that node and training take


@pytest.mark.slow  # exports at six sizes
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ('family', 'name', 'sides'),
    [
        ('torchvision', 'resnet18', (75, 96, 128)),
        ('torchvision', 'mobilenet_v3_large', (75, 96, 128)),
        ('torchvision', 'convnext_tiny', (75, 96, 128)),
        ('torchvision', 'regnet_y_400mf', (75, 96, 128)),
        ('timm', 'tf_efficientnet_lite0', (96, 112, 113, 128, 144, 160, 224)),
    ],
)
def test_every_path_of_a_known_classifier_answers_as_the_original(family, name, sides, tmp_path):
    torch.manual_seed(0)
    if family == 'timm':
        original = pytest.importorskip('timm').create_model(name, num_classes=4)
    else:
        original = torchvision.models.get_model(name, num_classes=4)
    torch.save(original.state_dict(), tmp_path / 'own.pth')
    network = ImpatientNetwork.from_family(family, name, 3, 4, tmp_path / 'own.pth', sides[-1])
    randomised(network, sides[-1])
    merged = {  # what the network was given since
        key.partition('.')[2].partition('.')[2]: each
        for key, each in network.state_dict().items()
        if not key.startswith('exits.') or key.startswith(f'exits.{len(network.exits) - 1}.')
    }
    original.load_state_dict(merged)
    write(
        network, tmp_path / 'model', labels=LABELS, resolutions=sides, preprocessing=Preprocessing(sides[-1])
    )
    file = read(tmp_path / 'model')
    check_paths(file, load(tmp_path / 'model').network, original.eval())
    weights = sum(each.nbytes for each in file.graph.weights.values())
    assert (tmp_path / 'model').stat().st_size < weights + 150_000
