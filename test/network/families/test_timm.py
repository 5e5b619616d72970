"""Classifiers of timm: cut into stages they still compute what they did; weights come from files."""

import gc
import json
import logging
import sys

import pytest
import torch
from torch import nn

from impatient_ros.network import CutError, ImpatientNetwork, UnknownFamilyError, families
from impatient_ros.network.families import timm as family

timm = pytest.importorskip('timm')

# One of each kind; those without a mark are checked in every run.
SIZES = {
    'resnet10t': 64,
    'mobilenetv3_small_050': 64,
    'convnext_atto': 64,
    'vit_tiny_patch16_224': 64,
}
SLOW = {
    'resnet18': 64,
    'tf_efficientnet_lite0': 64,
    'mobilenetv4_conv_small': 64,
    'regnety_002': 64,
    'repvgg_a0': 64,
    'ghostnet_050': 64,
    'repvit_m0_9': 64,
    'fastvit_t8': 64,
    'deit_tiny_patch16_224': 64,
    'deit_tiny_distilled_patch16_224': 64,
    'levit_128s': 224,
    'swin_tiny_patch4_window7_224': 224,
    'pit_ti_224': 224,
    'mvitv2_tiny': 224,
    'xcit_nano_12_p16_224': 224,
    'efficientvit_b0': 64,
    'edgenext_xx_small': 64,
    'mixer_s32_224': 224,
    'hrnet_w18_small': 64,
    'densenet121': 64,
}
NAMES = [
    *SIZES,
    *(pytest.param(name, marks=pytest.mark.slow(reason='20 models take minutes')) for name in SLOW),
]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    gc.collect()


def original_of(network, options=None):
    """Timm's own module on the very tensors of the network's stages."""
    name, size = network.config['backbone']['name'], network.input_shape[1:]
    fixed = {'img_size': size} if timm.get_pretrained_cfg(name).fixed_input_size else {}
    module = timm.create_model(name, num_classes=network.classes, **fixed, **(options or {}))
    state = {}
    for part in (*network.stages, network.exits[-1]):
        state |= part.state_dict(keep_vars=True)
    module.load_state_dict(state, assign=True)
    return module


def settle(module, size):
    """Batch-norm statistics of two random batches, a normal classifier: fresh networks answer constants."""
    heads = module.get_classifier()
    for head in heads if isinstance(heads, tuple) else (heads,):
        for layer in head.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    for each in module.modules():
        if isinstance(each, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(each.weight, 0.5, 1.5) if each.affine else None
    module.train()
    for _ in range(2):
        module(torch.randn(2, 3, size, size))
    module.eval()


@pytest.mark.timeout(300)
@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_last_exit_gives_what_the_original_gives(name):
    torch.manual_seed(0)
    size = (SIZES | SLOW)[name]
    network = ImpatientNetwork.from_timm(name, exits=4, classes=20, image_size=size)
    original = original_of(network)
    settle(original, size)
    network.eval()
    for batch in (1, 3):
        images = torch.randn(batch, 3, size, size)
        scores, expected = network(images), original(images)
        assert all(each.shape == (batch, 20) and each.isfinite().all() for each in scores)
        assert expected.std() > 1e-3
        assert (scores[-1] - expected).norm() <= 1e-5 * expected.norm()
    twin = ImpatientNetwork.from_config(json.loads(json.dumps(network.config)))
    twin.load_state_dict(network.state_dict())
    twin.eval()
    for ours, theirs in zip(network(images), twin(images), strict=True):
        assert (ours - theirs).norm() <= 1e-5 * ours.norm()
    empty = ImpatientNetwork.from_config(network.config, empty=True)
    assert empty.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('resnet10t', {'drop_rate': 0.3, 'drop_path_rate': 0.5}),
        ('vit_tiny_patch16_224', {'proj_drop_rate': 0.2, 'attn_drop_rate': 0.2, 'drop_path_rate': 0.3}),
    ],
)
@torch.no_grad()
def test_in_training_it_computes_what_the_original_computes(name, options):
    network = ImpatientNetwork.from_timm(name, exits=3, classes=6, image_size=64, **options)
    original = original_of(network, options)
    settle(original, 64)
    x = torch.randn(2, 3, 64, 64)
    answers = []
    for module in (original.train(), network.train()):
        torch.manual_seed(7)
        answer = module(x)
        answers.append(answer[-1] if isinstance(answer, list) else answer)
    expected, scores = answers
    assert (scores - expected).norm() <= 1e-5 * expected.norm()
    torch.manual_seed(8)
    assert not torch.allclose(network(x)[-1], expected)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('crossvit_tiny_240', 'CrossVit cannot be traced: .*control flow'),
    ],
)
def test_a_classifier_that_cannot_be_cut_is_refused_with_the_reason(name, message):
    with pytest.raises(CutError, match=message):
        ImpatientNetwork.from_timm(name, exits=3)


def test_the_image_size_defaults_to_that_of_timms_weights():
    assert ImpatientNetwork.from_timm('resnet10t', exits=2, classes=3).input_shape == (3, 176, 176)


def test_timms_own_data_configuration_is_the_preprocessing():
    found = families.find('timm').preprocessing('vit_tiny_patch16_224.augreg_in21k_ft_in1k')
    assert (found.size, found.resize, found.mean) == ((224, 224), round(224 / 0.9), (0.5, 0.5, 0.5))


# --- weights


def weights_of(name, path, classes, **options):
    module = timm.create_model(name, num_classes=classes, **options).eval()
    settle(module, 64)
    torch.save({'state_dict': module.state_dict()}, path)
    return module


def test_weights_from_a_file_bring_their_number_of_classes(tmp_path):
    torch.manual_seed(0)
    module = weights_of('resnet10t', tmp_path / 'own.pth', 7)
    network = ImpatientNetwork.from_timm('resnet10t', 2, weights=tmp_path / 'own.pth', image_size=64).eval()
    assert network.classes == 7
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network(x)[-1], module(x))


def test_weights_for_other_classes_leave_the_classifier_fresh_and_say_so(tmp_path, caplog):
    module = weights_of('resnet10t', tmp_path / 'own.pth', 7)
    with caplog.at_level(logging.INFO):
        network = ImpatientNetwork.from_timm(
            'resnet10t', 2, classes=5, weights=tmp_path / 'own.pth', image_size=64
        )
    assert 'the weights are for 7 classes, the network for 5: its classifier starts afresh' in caplog.text
    assert network.classes == 5
    own = network.stages[0].state_dict() | network.stages[1].state_dict()
    assert own.keys() == module.state_dict().keys() - {'fc.weight', 'fc.bias'}
    assert all(torch.equal(own[name], module.state_dict()[name]) for name in own)


def test_position_embeddings_are_adapted_to_another_size(tmp_path):
    weights_of('vit_tiny_patch16_224', tmp_path / 'own.pth', 4, img_size=64)
    network = ImpatientNetwork.from_timm(
        'vit_tiny_patch16_224', 2, weights=tmp_path / 'own.pth', image_size=96
    )
    assert network.stages[0].pos_embed.shape == (1, 37, 192)


@pytest.mark.parametrize('classes', [None, 5])
def test_weights_of_another_classifier_are_refused(classes, tmp_path):
    weights_of('mobilenetv3_small_050', tmp_path / 'own.pth', 5)
    with pytest.raises(ValueError, match=r'own\.pth cannot be loaded into resnet10t: .*Missing key'):
        ImpatientNetwork.from_timm('resnet10t', 2, classes, weights=tmp_path / 'own.pth', image_size=64)


def test_timms_own_weights_are_asked_for_by_timm(monkeypatch):
    asked = []

    def load(model, pretrained_cfg, **options):
        asked.append((pretrained_cfg['architecture'], pretrained_cfg['tag'], options['num_classes']))

    monkeypatch.setattr('timm.models._builder.load_pretrained', load)
    network = ImpatientNetwork.from_timm('resnet18.a2_in1k', 2, weights='DEFAULT', image_size=64)
    assert network.classes == 1000
    fewer = ImpatientNetwork.from_timm('resnet10t', 2, classes=3, weights='DEFAULT', image_size=64)
    assert fewer.classes == 3
    assert asked == [('resnet18', 'a2_in1k', 1000), ('resnet10t', 'c3_in1k', 1000)]
    assert families.find('timm').labels('resnet10t', 'DEFAULT')[1].startswith('goldfish')


def test_weights_that_cannot_be_downloaded_are_said_to_be_so(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError('no network')

    monkeypatch.setattr('timm.models._builder.load_pretrained', refuse)
    with pytest.raises(ValueError, match='weights DEFAULT cannot be loaded into resnet10t: no network'):
        ImpatientNetwork.from_timm('resnet10t', 2, weights='DEFAULT', image_size=64)


# --- names and options, which a file may give


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'name': 'resnet10'}, 'timm has no classifier .resnet10.; did you mean resnet10t'),
        ({'name': 'resnet10t.nope'}, 'no weights .nope. for resnet10t; there are c3_in1k'),
        ({'name': 'hf-hub:timm/resnet10t'}, 'no classifier .hf-hub:timm/resnet10t.'),
        ({'name': 'local-dir:/tmp/model'}, 'no classifier .local-dir:/tmp/model.'),
        ({'weights': 'c3_in1k'}, 'write DEFAULT or a path; a tag of timm belongs to the name'),
        ({'weights': 'gone.pth'}, 'there is no file gone.pth'),
        ({'checkpoint_path': 'a.pth'}, 'checkpoint_path is not an option'),
        ({'pretrained': True}, 'pretrained is not an option'),
        ({'pretrained_cfg_overlay': {'file': 'a.pth'}}, 'pretrained_cfg_overlay is not an option'),
        ({'surprise': 1}, 'timm does not build resnet10t for images of 64x64 with .*surprise'),
        ({'name': 'levit_128s', 'image_size': 8}, r'LevitDistilled does not take an input of 3x8x8'),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises((ValueError, OSError), match=message):
        ImpatientNetwork.from_timm(**({'name': 'resnet10t', 'exits': 2, 'image_size': 64} | options))


def test_where_timm_is_missing_it_is_said_what_to_install(monkeypatch):
    config = ImpatientNetwork.from_timm('resnet10t', exits=2, classes=3, image_size=64).config
    family._timm.cache_clear()
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(UnknownFamilyError, match='timm is not installed: pip install'):
        ImpatientNetwork.from_config(config)
