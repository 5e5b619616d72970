"""The final layer of a classifier: found where it is a Linear one, with what made its features."""

import pytest
import torch
import torchvision
from torch import nn

from impatient_ros.network.cut_points import find_cut_points
from impatient_ros.network.final_layer import FinalLayer


class Ending(nn.Module):
    def __init__(self, *ending):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.ending = nn.Sequential(*ending)

    def forward(self, x):
        return self.ending(self.stem(x))


class Functional(nn.Module):
    """Features through functions and methods; the image's size is read on the way."""

    def __init__(self, activation):
        super().__init__()
        self.stem, self.classifier = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)
        self.activation = activation

    def forward(self, x):
        x = self.activation(self.stem(x))
        x = nn.functional.adaptive_avg_pool2d(x, 1).view(x.size(0), -1)
        return self.classifier(nn.functional.dropout(x, training=self.training))


def found(module):
    return find_cut_points(module.eval(), (3, 32, 32)).final


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('resnet18', FinalLayer('fc', 512, 'relu')),
        ('mobilenet_v2', FinalLayer('classifier.1', 1280, 'relu6')),  # its last block is traced whole
        ('mobilenet_v3_small', FinalLayer('classifier.3', 1024, 'hardswish')),
        ('efficientnet_b0', FinalLayer('classifier.1', 1280, 'silu')),
        ('convnext_tiny', FinalLayer('classifier.2', 768, 'identity')),  # of normalised features
        ('squeezenet1_1', None),  # ends in a convolution
    ],
)
def test_that_of_torchvisions_classifiers(name, expected):
    with torch.device('meta'):
        module = torchvision.models.get_model(name, num_classes=7)
    assert find_cut_points(module, (3, 64, 64)).final == expected


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('efficientnet_lite0', FinalLayer('classifier', 1280, 'relu6')),
        ('regnety_002', FinalLayer('head.fc', 368, 'relu')),  # an identity follows it
        ('levit_128s', None),  # the mean of two
    ],
)
def test_that_of_timms_classifiers(name, expected):
    timm = pytest.importorskip('timm')
    assert find_cut_points(timm.create_model(name), (3, 224, 224)).final == expected


@pytest.mark.parametrize(
    ('activation', 'name'),
    [
        (nn.functional.relu, 'relu'),
        (torch.relu_, 'relu'),
        (nn.functional.silu, 'silu'),
        (lambda x: x.relu(), 'relu'),
        (torch.tanh, 'identity'),
        (nn.Softplus(), 'identity'),
        (nn.GELU(), 'gelu'),
    ],
)
def test_the_activation_before_it_is_found_through_pooling_and_sizes(activation, name):
    assert found(Functional(activation)) == FinalLayer('classifier', 8, name)


def test_what_follows_the_layer_hides_it():
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert found(Ending(*pool, nn.Linear(8, 4))) == FinalLayer('ending.2', 8, 'identity')
    assert found(Ending(*pool, nn.Linear(8, 4), nn.Softmax(1))) is None
    assert found(Ending(nn.Conv2d(8, 4, 1), *pool)) is None


def test_the_layer_of_a_module_is_its_own_object():
    module = Functional(torch.relu)
    assert found(module).of(module, 4) is module.classifier


@pytest.mark.parametrize(
    ('layer', 'classes', 'message'),
    [
        (FinalLayer('nowhere', 8, 'relu'), 4, "no layer 'nowhere'"),
        (FinalLayer('stem', 8, 'relu'), 4, 'has Conv2d'),
        (FinalLayer('classifier', 9, 'relu'), 4, '9 features and 4 classes'),
        (FinalLayer('classifier', 8, 'relu'), 5, '8 features and 5 classes'),
    ],
)
def test_another_layer_in_its_place_is_refused(layer, classes, message):
    with pytest.raises(ValueError, match=message):
        layer.of(Functional(torch.relu), classes)
