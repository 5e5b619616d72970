"""Every classifier of torchvision: cut into stages it still computes what it did."""

import gc
from itertools import pairwise

import pytest
import torch
import torchvision
from torch import nn

from impatient_ros.network import ImpatientNetwork, families
from impatient_ros.network.families.family import _Empty
from impatient_ros.network.families.weights import classifier_of

# One of each family is checked in every run, all of them by `make test-all`.
FAMILIES = {
    'alexnet',
    'convnext_tiny',
    'densenet121',
    'efficientnet_b0',
    'googlenet',
    'inception_v3',
    'mnasnet0_5',
    'mobilenet_v3_small',
    'regnet_y_400mf',
    'resnet18',
    'shufflenet_v2_x0_5',
    'squeezenet1_1',
    'swin_t',
    'vgg11_bn',
    'vit_b_32',
}
SIZES = {'vit_h_14': 28, 'vit_b_16': 32, 'vit_l_16': 32, 'inception_v3': 96, 'maxvit_t': 224}
NAMES = [
    pytest.param(name, marks=() if name in FAMILIES else pytest.mark.slow(reason='80 models take minutes'))
    for name in families.find('torchvision').classifiers()
]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    gc.collect()


def original_of(network: ImpatientNetwork) -> nn.Module:
    """Torchvision's own module on the very tensors of the network's stages."""
    name, options = network.config['backbone']['name'], dict(network.config['backbone']['options'])
    if name in ('googlenet', 'inception_v3'):
        options |= {'aux_logits': False, 'init_weights': False}
    if name.startswith('vit'):
        options['image_size'] = network.input_shape[1]
    if name.startswith('maxvit'):
        options['input_size'] = network.input_shape[1:]
    with _Empty():
        module = torchvision.models.get_model(name, num_classes=network.classes, **options)
    state = module.state_dict()  # with torchvision's own marks of its version
    for part in (*network.stages, network.exits[-1]):
        state.update(part.state_dict(keep_vars=True))
    module.load_state_dict(state, assign=True)
    return module


def settle(module: nn.Module, size: int) -> None:
    """Batch-norm statistics of two random batches, a normal classifier: fresh networks answer constants."""
    layer = module.get_submodule(classifier_of(module))
    nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    nn.init.normal_(layer.bias) if layer.bias is not None else None
    if any(isinstance(each, nn.BatchNorm2d) for each in module.modules()):
        module.train()
        for _ in range(2):
            module(torch.randn(2, 3, size, size))
    module.eval()


@pytest.mark.timeout(600)
@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_last_exit_gives_what_the_original_gives(name):
    torch.manual_seed(0)
    size = SIZES.get(name, 64)
    network = ImpatientNetwork.from_torchvision(name, exits=5, classes=20, image_size=size)
    original = original_of(network)
    settle(original, size)
    image = torch.randn(1, 3, size, size)

    network.eval()
    scores = network(image)
    expected = original(image)

    assert len(scores) == len(network.stages) == len(network.exits) == 5
    assert all(each.shape == (1, 20) and each.isfinite().all() for each in scores)
    assert expected.std() > 1e-3
    assert (scores[-1] - expected).norm() <= 1e-5 * expected.norm()
    assert torch.equal(network.forward_to(image, 4), scores[-1])
    assert sum(network.exit_macs[:-1]) < 0.05 * network.costs()[-1]
    assert all(first < second for first, second in pairwise(network.costs()))
