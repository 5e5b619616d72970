"""Exit heads: any layout of features, light, trainable, and plain enough for ONNX."""

import io
import json
import logging
from dataclasses import replace

import pytest
import torch
from torch import nn

from impatient_ros.network.cut_points import CutPoint
from impatient_ros.network.final_layer import FinalLayer
from impatient_ros.network.heads import MANY_CLASSES, Head, HeadSpec, plan_heads
from impatient_ros.network.macs import run, without_data

LAYOUTS = {
    'NCHW': (24, 28, 20),
    'NHWC': (28, 20, 24),
    'NLC': (28 * 20, 24),
    'NCL': (24, 30),
    'NC': (24,),
}


def point(layout, shape):
    return CutPoint('cut', shape, 0.5, 1, layout, 0)


def head(layout='NCHW', shape=(24, 28, 20), budget=10**7, classes=5, image=(224, 160)):
    (spec,) = plan_heads([point(layout, shape)], classes, budget, image, share=1.0)
    return Head(spec)


def sharing(layout='NCHW', shape=(24, 28, 20), budget=10**7, activation='relu6'):
    """A head in a network that ends in a layer of 5 classes and 40 features, and that layer."""
    final, layer = FinalLayer('fc', 40, activation), nn.Linear(40, 5)
    (spec,) = plan_heads([point(layout, shape)], 5, budget, (224, 160), 1.0, 'shared', final)
    return Head(spec, layer), layer


KINDS = {'own': head, 'shared': lambda *args: sharing(*args)[0]}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_layout_gives_logits_and_trains(layout, kind):
    module = KINDS[kind](layout, LAYOUTS[layout])
    logits = module(torch.randn(2, *LAYOUTS[layout]))
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in module.parameters())
    assert module.eval()(torch.randn(1, *LAYOUTS[layout])).shape == (1, 5)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('budget', [0, 10**3, 10**4, 10**5, 10**6, 10**8])
def test_macs_of_a_head_are_those_counted(layout, budget, kind):
    module = KINDS[kind](layout, LAYOUTS[layout], budget).eval()
    assert module.spec.macs == run(without_data(module), (1, *LAYOUTS[layout]))


def test_channels_last_features_give_what_channels_first_features_give():
    first, last = head('NCHW', (24, 28, 20)).eval(), head('NHWC', (28, 20, 24)).eval()
    last.load_state_dict(first.state_dict(), strict=False)
    x = torch.randn(2, 28, 20, 24)
    normalised = nn.functional.layer_norm(x, (24,))
    torch.testing.assert_close(last(x), first(normalised.permute(0, 3, 1, 2)))


@pytest.mark.parametrize(
    ('length', 'image', 'grid', 'prefix'),
    [
        (196, (224, 224), (14, 14), 0),
        (197, (224, 224), (14, 14), 1),
        (198, (224, 224), (14, 14), 2),
        (201, (224, 224), (14, 14), 5),
        (7 * 14 + 1, (112, 224), (7, 14), 1),
        (5, (32, 32), (2, 2), 1),
        (2, (32, 32), (1, 1), 1),
        (13, (32, 48), (13, 1), 0),
    ],
)
def test_tokens_are_put_on_the_grid_of_the_image_and_the_class_token_apart(length, image, grid, prefix):
    spec = head('NLC', (length, 16), image=image).spec
    assert (spec.grid, spec.prefix) == (grid, prefix)


@pytest.mark.parametrize('shared', [None, FinalLayer('fc', 40, 'identity')])
def test_patches_and_class_token_both_count_and_other_prefixes_do_not(shared):
    spec = replace(head('NLC', (2 + 16, 8), image=(32, 32)).spec, shared=shared)
    module = Head(spec, None if shared is None else nn.Linear(40, 5)).eval()
    x = torch.randn(1, 18, 8, requires_grad=True)
    module(x).sum().backward()
    used = x.grad.abs().sum(2)[0] > 0
    assert used.tolist() == [True, False] + [True] * 16


def test_patches_keep_their_places():
    module = head('NLC', (16, 8), image=(32, 32))
    x = torch.arange(16.0).repeat_interleave(8).reshape(1, 16, 8)
    assert module._as_map(x)[0, 0].tolist() == torch.arange(16.0).reshape(4, 4).tolist()


def test_heads_stay_within_their_share():
    points = [point('NCHW', (64, 56, 56)), point('NCHW', (128, 28, 28)), point('NCHW', (256, 14, 14))]
    for macs in (10**8, 10**9, 10**10):
        for share in (0.02, 0.05, 0.2):
            assert sum(spec.macs for spec in plan_heads(points, 100, macs, (224, 224), share)) <= share * macs


def test_what_one_head_does_not_need_is_left_to_the_next():
    small, large = point('NCHW', (4, 8, 8)), point('NCHW', (256, 14, 14))
    alone = plan_heads([large, large], 10, 10**9, (224, 224))[1]
    after = plan_heads([small, large], 10, 10**9, (224, 224))[1]
    assert after.macs > alone.macs


def test_a_head_is_more_than_an_average_where_the_budget_allows():
    rich, poor = (head(shape=(64, 28, 20), budget=each).spec for each in (10**8, 10**3))
    assert rich.depth == 2
    assert rich.stride == (2, 2)
    assert poor.depth == 0
    assert poor.pooled == (1, 1)


def test_too_small_a_backbone_gets_the_plainest_heads_and_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        (spec,) = plan_heads([point('NCHW', (64, 8, 8))], 1000, 10**4, (32, 32))
    assert spec.width == 4
    assert 'the plainest heads cost' in caplog.text


@pytest.mark.parametrize('share', [0, -0.1, float('nan'), float('inf')])
def test_a_share_that_makes_no_sense_is_refused(share):
    with pytest.raises(ValueError, match='head_share'):
        plan_heads([], 10, 10**9, (224, 224), share)


def test_a_spec_survives_json():
    spec = head('NLC', (197, 24), image=(224, 224)).spec
    assert HeadSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize(
    'change',
    [
        {'layout': 'CHW'},
        {'layout': ['NCHW']},
        {'width': 0},
        {'width': 2.0},
        {'depth': -1},
        {'grid': [7]},
        {'grid': 7},
        {'pool': [100, 100]},
        {'stride': [0, 1]},
        {'channels': 1 << 30},
        {'surprise': 1},
        {'shared': 'fc'},
        {'shared': ['fc', 40, 'relu']},
        {'shared': {'path': 'fc', 'width': 40}},
        {'shared': {'path': 'fc', 'width': 0, 'activation': 'relu'}},
        {'shared': {'path': 'fc', 'width': 40.0, 'activation': 'relu'}},
        {'shared': {'path': 1, 'width': 40, 'activation': 'relu'}},
        {'shared': {'path': 'fc', 'width': 40, 'activation': 'eval'}},
        {'shared': {'path': 'fc', 'width': 40, 'activation': ['relu']}},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(change):
    with pytest.raises(ValueError, match='not the description of a head'):
        HeadSpec.from_dict(head().spec.to_dict() | change)


def test_the_same_seed_gives_the_same_head():
    heads = []
    for _ in range(2):
        torch.manual_seed(3)
        heads.append(head().state_dict())
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


@pytest.mark.parametrize('layout', LAYOUTS)
def test_heads_use_no_randomness_in_training(layout):
    module = head(layout, LAYOUTS[layout])
    before = torch.get_rng_state()
    module(torch.randn(2, *LAYOUTS[layout], generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('layout', LAYOUTS)
def test_heads_export_to_onnx(layout, kind):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    module, x = KINDS[kind](layout, LAYOUTS[layout]).eval(), torch.randn(1, *LAYOUTS[layout])
    file = io.BytesIO()
    torch.onnx.export(module, (x,), file, dynamo=False)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=['CPUExecutionProvider'])
    (logits,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), module(x), atol=1e-5, rtol=1e-4)


# --- heads that end in the network's final layer

WIDE = FinalLayer('fc', 1280, 'relu6')
AT_14 = point('NCHW', (112, 14, 14))


@pytest.mark.parametrize('layout', LAYOUTS)
def test_a_sharing_head_classifies_its_features_with_the_very_layer(layout):
    module, layer = sharing(layout, LAYOUTS[layout])
    assert module.classify is layer
    x = torch.randn(2, *LAYOUTS[layout])
    module.eval()
    features = module.features(x)
    assert features.shape == (2, 40)
    torch.testing.assert_close(module(x), layer(features))
    assert 0 <= features.min() < features.max() <= 6  # as ReLU6 makes those of the network


def test_features_may_be_negative_where_those_of_the_network_are():
    module, _ = sharing(activation='identity')
    assert module.features(torch.randn(2, 24, 28, 20)).min() < 0


def test_a_head_of_its_own_gives_its_features_too():
    module = head('NLC', (197, 24), image=(224, 224)).eval()
    x = torch.randn(2, 197, 24)
    assert module.features(x).shape == (2, module.spec.features)
    torch.testing.assert_close(module(x), module.classify(module.features(x)))


@pytest.mark.parametrize(
    ('kind', 'classes', 'final', 'shares'),
    [
        ('auto', MANY_CLASSES, WIDE, True),
        ('auto', MANY_CLASSES - 1, WIDE, False),
        ('auto', MANY_CLASSES, None, False),
        ('own', 1000, WIDE, False),
        ('shared', 2, WIDE, True),
    ],
)
def test_many_classes_share_the_final_layer_where_there_is_one(kind, classes, final, shares):
    (spec,) = plan_heads([AT_14], classes, 5 * 10**6, (224, 224), 1.0, kind, final)
    assert spec.shared == (final if shares else None)


def test_sharing_heads_of_a_mobile_network_stay_within_their_share():
    """EfficientNet-Lite0: 385 million MACs, 1280 features, 1000 classes."""
    points = [point('NCHW', (c, s, s)) for c, s in ((24, 56), (80, 14), (112, 14), (192, 7))]
    specs = plan_heads(points, 1000, 385 * 10**6, (224, 224), 0.05, 'auto', WIDE)
    assert all(spec.shared == WIDE and spec.depth == 2 and spec.mixed == (4, 4) for spec in specs)
    assert sum(spec.macs for spec in specs) <= 0.05 * 385 * 10**6


def test_auto_keeps_heads_of_their_own_where_a_shared_one_would_be_too_dear(caplog):
    with caplog.at_level(logging.WARNING):
        (spec,) = plan_heads([AT_14], 1000, 10**6, (224, 224), 1.0, 'auto', WIDE)
        assert (spec.shared, caplog.text) == (None, '')
        (spec,) = plan_heads([AT_14], 1000, 10**6, (224, 224), 1.0, 'shared', WIDE)
    assert spec.shared == WIDE
    assert 'the plainest heads cost' in caplog.text


def test_a_kind_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match='write one of auto, own, shared'):
        plan_heads([AT_14], 10, 10**6, (224, 224), kind='both')
    with pytest.raises(ValueError, match='does not end in a Linear layer: write own'):
        plan_heads([AT_14], 10, 10**6, (224, 224), kind='shared')
    with pytest.raises(ValueError, match='if, and only if'):
        Head(sharing()[0].spec)


def test_the_description_of_a_sharing_head_survives_json_and_that_of_another_is_as_it_was():
    spec = sharing()[0].spec
    assert HeadSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert 'shared' not in head().spec.to_dict()


def test_each_head_keeps_to_its_own_share_where_it_has_one():
    points = [point('NCHW', (64, 56, 56)), point('NCHW', (128, 28, 28)), point('NCHW', (256, 14, 14))]
    shares = [0.03, 0.005, 0.015]
    specs = plan_heads(points, 100, 10**9, (224, 224), shares)
    assert all(spec.macs <= share * 10**9 for spec, share in zip(specs, shares, strict=True))
    alone = [plan_heads([each], 100, 10**9, (224, 224), s)[0] for each, s in zip(points, shares, strict=True)]
    assert specs == alone  # whatever the others take or leave
    with pytest.raises(ValueError, match='head_share has 2 parts for 3 heads'):
        plan_heads(points, 100, 10**9, (224, 224), [0.03, 0.02])
    with pytest.raises(ValueError, match='head_share'):
        plan_heads(points[:1], 100, 10**9, (224, 224), [0.0])
