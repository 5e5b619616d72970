"""The graph computes what the network in torch does, whole and in parts, with the file's own tensors."""

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from checkpoint_files import SIZE, randomised, shared_network, write
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from impatient_ros.checkpoint import CheckpointError, Graph, Preprocessing, read
from impatient_ros.checkpoint.graph import boundary, logits
from impatient_ros.network import ImpatientNetwork

# One of each of torchvision's ways to build a classifier.
FAMILIES = (
    'alexnet', 'convnext_tiny', 'densenet121', 'efficientnet_b0', 'efficientnet_v2_s', 'googlenet',
    'inception_v3', 'maxvit_t', 'mnasnet0_5', 'mobilenet_v2', 'mobilenet_v3_small', 'regnet_x_400mf',
    'regnet_y_400mf', 'resnet50', 'resnext50_32x4d', 'shufflenet_v2_x1_0', 'squeezenet1_0', 'swin_t',
    'swin_v2_t', 'vgg11_bn', 'vit_b_32', 'wide_resnet50_2',
)  # fmt: skip


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: x})


def compare(network, graph, size):
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = [each.numpy() for each in network(x)]
    answers = run(graph.part(0, [logits(t) for t in range(graph.exits)]), x.numpy())
    for ours, theirs in zip(answers, expected, strict=True):
        assert np.ptp(theirs) > 1e-3  # an answer, not a constant
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4 * np.abs(theirs).max())


class Attention(nn.Module):
    """Patches with positions, attention with a mask, and GELU: what convolutional networks lack."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.position = nn.Parameter(torch.randn(1, 16, 16))
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(2))
        self.classifier = nn.Linear(16, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.classifier(x.mean(1))


class Same(nn.Module):
    """A convolution padded as TensorFlow does, by the size of what comes, and a buffer that is not stored."""

    def __init__(self, channels):
        super().__init__()
        self.convolution = nn.Conv2d(channels, 16, 3, 2)
        self.register_buffer('shift', torch.linspace(0, 1, 16)[:, None, None], persistent=False)

    def forward(self, x):
        height, width = (max((-(-side // 2) - 1) * 2 + 3 - side, 0) for side in x.shape[-2:])
        x = functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return functional.silu(self.convolution(x)) + self.shift


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.classifier = Same(3), Same(16), nn.Linear(16, 4)

    def forward(self, x):
        return self.classifier(self.second(self.first(x)).mean((2, 3)))


def test_the_graph_answers_as_a_network_of_convolutions(tmp_path):
    network = ImpatientNetwork.from_torchvision('mobilenet_v3_small', exits=3, classes=4, image_size=SIZE)
    write(randomised(network, SIZE), tmp_path / 'model')
    compare(network, read(tmp_path / 'model').graph, SIZE)


def test_the_graph_answers_as_a_network_whose_heads_share_its_final_layer(tmp_path):
    network = randomised(
        ImpatientNetwork.from_torchvision(
            'mobilenet_v3_small', exits=3, classes=4, image_size=SIZE, head_share=3.0, head_kind='shared'
        ),
        SIZE,
    )
    assert all(head.classify is network.exits[0].classify for head in network.exits[:-1])
    write(network, tmp_path / 'model', resolutions=(24, SIZE))
    file = read(tmp_path / 'model')
    compare(network, file.graph, SIZE)
    compare(network.at(24), file.resolutions[0].graph, 24)
    for t in range(3):  # by itself, from what the stage gives
        part = file.graph.part(t + 1, [logits(t)])
        (layer,) = [each for each in part.graph.initializer if list(each.dims) == [4, 1024]]
        assert layer.name in file.graph.weights


@pytest.mark.parametrize('kind', [Attention, Padded])
def test_the_graph_answers_as_a_module_of_ones_own(kind, tmp_path):
    network = ImpatientNetwork.from_module(kind(), torch.zeros(1, 3, SIZE, SIZE), exits=2)
    write(randomised(network, SIZE), tmp_path / 'model')
    compare(network, read(tmp_path / 'model').graph, SIZE)


def test_the_list_of_families_is_whole():
    def families(names):
        return {torchvision.models.get_model_builder(name).__module__ for name in names}

    known = torchvision.models.list_models(module=torchvision.models)
    assert families(FAMILIES) == families(known)


@pytest.mark.slow  # exporting them all takes minutes
@pytest.mark.timeout(600)
@pytest.mark.parametrize('name', FAMILIES)
def test_the_graph_of_every_family_answers_as_the_network(name, tmp_path):
    # The exporter knows adaptive pooling (alexnet, vgg) only where the grid divides the map.
    size = {'alexnet': 224, 'vgg11_bn': 224, 'maxvit_t': 224, 'inception_v3': 128}.get(name, 64)
    network = ImpatientNetwork.from_torchvision(name, exits=3, classes=4, image_size=size)
    write(randomised(network, size), tmp_path / 'model', preprocessing=Preprocessing(size))
    compare(network, read(tmp_path / 'model').graph, size)


@pytest.mark.slow  # exporting takes seconds each
@pytest.mark.parametrize(
    'name', ['tf_efficientnet_lite0', 'convnext_atto', 'levit_128s', 'vit_tiny_patch16_224']
)
def test_the_graph_of_a_network_of_timm_answers_as_the_network(name, tmp_path):
    timm = pytest.importorskip('timm')
    module = timm.create_model(name, num_classes=4)
    network = ImpatientNetwork.from_module(module, torch.zeros(1, 3, 224, 224), exits=3)
    write(randomised(network, 224), tmp_path / 'model', preprocessing=Preprocessing(224))
    compare(network, read(tmp_path / 'model').graph, 224)


@pytest.fixture(scope='module')
def network():
    network = ImpatientNetwork.from_torchvision('squeezenet1_1', exits=3, classes=4, image_size=SIZE)
    return randomised(network, SIZE)


@pytest.fixture(scope='module')
def path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp('graph') / 'model.safetensors'
    write(network, path)
    return path


@pytest.fixture(scope='module')
def graph(path):
    return read(path).graph


def test_it_says_what_it_takes_and_gives(graph):
    assert isinstance(graph, Graph)
    assert (graph.exits, graph.input_shape) == (3, (3, SIZE, SIZE))
    assert graph.shape(boundary(0)) == (1, 3, SIZE, SIZE)
    assert graph.shape(logits(2)) == (1, 4)
    assert all(len(graph.shape(boundary(t))) == 4 for t in (1, 2, 3))


def test_stages_and_heads_one_after_the_other_answer_as_the_whole(network, graph):
    x = torch.randn(1, 3, SIZE, SIZE)
    features = x.numpy()
    for t in range(3):
        with torch.no_grad():
            expected = network.forward_to(x, t).numpy()
        together = run(graph.part(t, [boundary(t + 1), logits(t)]), features)
        (features,) = run(graph.part(t, [boundary(t + 1)]), features)
        (scores,) = run(graph.part(t + 1, [logits(t)]), features)
        np.testing.assert_allclose(scores, expected, atol=1e-4)
        np.testing.assert_allclose(together[1], expected, atol=1e-4)
        assert features.shape == graph.shape(boundary(t + 1))


def test_a_part_has_the_weights_it_needs_and_no_others(graph):
    names = {each.name for each in graph.part(1, [boundary(2)]).graph.initializer}
    assert names
    assert all(name.startswith('stages.1.') for name in names)


def test_nothing_is_stored_twice(path, graph):
    tensors = load_file(path)
    assert graph.weights.keys() <= tensors.keys()
    weights = sum(each.numel() * each.element_size() for name, each in tensors.items() if name != 'graph')
    assert tensors['graph'].numel() < 30_000
    assert path.stat().st_size < weights + 60_000


def test_equal_and_shared_weights_keep_their_names(tmp_path):
    """An exporter that merges equal tensors would leave some of the file's without a use."""
    network = shared_network().eval()
    with torch.no_grad():
        network.stages[0].block[0].bias.zero_()
        network.stages[0].stem.bias.zero_()
    write(network, tmp_path / 'model')
    graph = read(tmp_path / 'model').graph
    assert {'stages.0.stem.bias', 'stages.0.block.0.bias', 'stages.0.block.1.weight'} <= graph.weights.keys()
    x = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        expected = [each.numpy() for each in network(x)]
    for ours, theirs in zip(
        run(graph.part(0, [logits(t) for t in range(3)]), x.numpy()), expected, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_what_training_alone_needs_is_no_weight_of_the_graph(tmp_path):
    network = shared_network()
    network.stages[0].register_buffer('momentum', torch.ones(2))
    write(network.eval(), tmp_path / 'model')
    assert not any('momentum' in name for name in read(tmp_path / 'model').graph.weights)


def test_a_part_that_needs_more_than_its_source_is_refused(graph):
    with pytest.raises(CheckpointError, match='image is needed beside features_1 to compute logits_0'):
        graph.part(2, [logits(0)])


def test_weights_beyond_what_protobuf_holds_are_refused_with_the_reason(graph):
    huge = {name: np.broadcast_to(np.float32(0), (1 << 27, 5)) for name in graph.weights}  # takes no memory
    with pytest.raises(
        CheckpointError, match='GB of weights from image to logits_0, an ONNX model holds 2 GB'
    ):
        Graph(graph.model, huge).part(0, [logits(0)])
