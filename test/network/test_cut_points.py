"""Where classifiers can be cut, and that the pieces do what the whole did."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from impatient_ros.network import families, macs
from impatient_ros.network.cut_points import CutError, CutPoint, find_cut_points
from impatient_ros.network.splitting import cut

SHAPE = (3, 16, 16)


@pytest.fixture(autouse=True, scope='module')
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Small(nn.Module):
    """Two blocks and a classifier; subclasses change what lies between the blocks."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.classifier = nn.Linear(4, 5)

    def between(self, x):
        return x

    def forward(self, x):
        x = self.between(self.first(x))
        return self.classifier(self.second(x).mean((2, 3)))


def names(module, shape=SHAPE):
    return [point.name for point in find_cut_points(module, shape).points]


def empty(name, **options):
    return families.find('torchvision').build(
        name, classes=1000, image_size=(224, 224), options=options, empty=True
    )


def staged(module, cuts):
    pieces = cut(module, cuts)

    def run(x):
        for piece in pieces:
            x = piece(x)
        return x

    return pieces, run


def test_points_are_named_by_module_path_and_say_shape_cost_and_layout():
    points = find_cut_points(empty('resnet18'), (3, 224, 224))

    by_name = {point.name: point for point in points.points}
    assert by_name['layer2.1'] == CutPoint(
        'layer2.1', (128, 28, 28), pytest.approx(0.5465, abs=1e-4), 991_477_760, 'NCHW', 0
    )
    assert points.find('layer2') == by_name['layer2.1']
    assert points.last.name == 'layer4.1'
    assert points.classes == 1000
    shares = [point.cost_share for point in points.points]
    assert shares == sorted(shares)
    assert shares[-1] < 1


# torchvision's own numbers ("GFLOPS" in its tables, which are multiply-accumulates)
@pytest.mark.parametrize(
    ('name', 'giga'), [('resnet18', 1.814), ('vit_b_16', 17.564), ('mobilenet_v3_small', 0.057)]
)
def test_macs_are_those_that_torchvision_publishes(name, giga):
    macs = find_cut_points(empty(name), (3, 224, 224)).macs
    assert macs / 1e9 == pytest.approx(giga, abs=1e-3)


@pytest.mark.parametrize(
    ('name', 'cuts', 'layouts'),
    [
        ('resnet18', ['layer1.0', 'layer4.0'], {'NCHW'}),
        ('swin_t', ['features.1.0', 'features.5.0'], {'NHWC'}),
        ('vit_b_32', ['encoder.layers.encoder_layer_1', 'encoder'], {'NLC'}),
        ('maxvit_t', ['blocks.0', 'blocks.2'], {'NCHW'}),
        ('convnext_tiny', ['features.1', 'features.5'], {'NCHW'}),
    ],
)
def test_layout_of_feature_maps_is_recognised(name, cuts, layouts):
    points = find_cut_points(empty(name), (3, 224, 224))
    assert {points.find(each).layout for each in cuts} == layouts


def test_layout_is_not_guessed_from_the_shape():
    class Square(Small):
        def between(self, x):
            return x.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2)

    module = Square()
    points = find_cut_points(module, (3, 4, 4))  # channels, height and width are all 4
    assert points.find('relu').layout == 'NHWC'
    assert points.find('first').layout == 'NCHW'


def test_values_that_are_written_to_later_are_not_offered():
    class InPlace(Small):
        def between(self, x):
            return F.relu(x + 1, inplace=True)

    assert 'add' not in names(InPlace())
    assert {'first.1', 'relu'} <= set(names(InPlace()))
    assert 'bn1' not in names(empty('resnet18'), (3, 64, 64))


def test_dropped_out_values_are_not_offered():
    class Dropout(Small):
        def between(self, x):
            return F.dropout(x, 0.5, self.training)

    assert 'dropout' not in names(Dropout())


def test_nothing_is_offered_while_a_second_value_is_live():
    class Skip(Small):
        def between(self, x):
            y = x.sin()
            return y.cos() + x

    found = names(Skip())
    assert 'first.1' in found
    assert 'add' in found
    assert not {'sin', 'cos'} & set(found)


# --- sizes that a forward reads


class Batch(Small):
    """Reads the size of the batch first and needs it last."""

    def forward(self, x):
        n = x.size(0)
        x = self.second(self.first(x))
        return self.classifier(x.view(n, 4, -1).mean(2))


class Shape(Small):
    """Unpacks a shape, computes with it and needs it after both blocks."""

    def forward(self, x):
        n, _, height, width = x.shape
        tokens = height * width
        x = self.second(self.first(x))
        return self.classifier(x.reshape(2 * n, 2, tokens).reshape(n, 4, height, width).mean((2, 3)))


class Windows(Small):
    """A block that hands the size of its map on, between parts of the batch that are worked on alone."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(4, 4)

        def forward(self, x, size):
            windows = x.reshape(x.shape[0] * 4, -1, x.shape[-1])
            return self.mix(windows).reshape(-1, size[0] * size[1], 4), [size[0], size[1]]

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([self.Block(), self.Block()])

    def forward(self, x):
        x = self.first(x)
        size = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            x, size = block(x, size)
        x = x.transpose(1, 2).reshape(-1, 4, size[0], size[1])
        return self.classifier(self.second(x).mean((2, 3)))


@pytest.mark.parametrize('kind', [Batch, Shape, Windows])
@pytest.mark.parametrize('device', ['cpu', 'meta'])
def test_a_size_that_is_live_does_not_stop_the_cutting(kind, device):
    class Plain(Small):
        def forward(self, x):
            return self.classifier(self.second(self.first(x)).mean((2, 3)))

    found = names(kind().to(device))
    assert {'first.0', 'first.1', 'second.0', 'second.1'} <= set(found)
    assert set(names(Plain())) - {'mean'} <= set(found)


@pytest.mark.parametrize('kind', [Batch, Shape, Windows])
@torch.no_grad()
def test_stages_have_a_size_anew_whatever_the_batch(kind):
    module = kind().eval()
    points = [point.name for point in find_cut_points(module, SHAPE).points]
    for name in points:
        pieces = cut(module, [name], SHAPE)
        for batch in (1, 2, 5):
            x = torch.randn(batch, *SHAPE)
            torch.testing.assert_close(pieces[1](pieces[0](x)), module(x))
    pieces = cut(module, points[:-1:2], SHAPE)
    x = y = torch.randn(3, *SHAPE)
    for piece in pieces:
        y = piece(y)
    torch.testing.assert_close(y, module(x))


def test_a_size_of_the_image_is_a_constant_of_the_stage_and_another_image_is_refused():
    class Side(Small):
        def between(self, x):
            return x.sin() * x.shape[2]

    module = Side().eval()
    assert 'sin' in names(module)
    first, second = cut(module, ['sin'], SHAPE)
    x = torch.randn(2, *SHAPE)
    torch.testing.assert_close(second(first(x)), module(x))
    with pytest.raises(ValueError, match='cut for inputs of 4x16x16 and got 4x32x32'):
        second(first(torch.randn(2, 3, 32, 32)))
    with pytest.raises(CutError, match='not a place to cut'):
        cut(module, ['sin'])  # the size of the images is not known


def test_what_is_computed_from_a_size_is_not_taken_for_one():
    class Ramp(Small):
        def between(self, x):
            ramp = torch.arange(x.shape[3], device=x.device, dtype=x.dtype)
            return x.sin() + ramp

    found = names(Ramp())
    assert 'add' in found
    assert 'sin' not in found


def test_the_type_and_the_device_of_a_tensor_do_not_stop_the_cutting():
    class Typed(Small):
        def between(self, x):
            kind, device = x.dtype, x.device
            return (x.sin().double() * torch.ones(1, device=device)).to(kind)

    module = Typed().eval()
    assert 'sin' in names(module)
    pieces = cut(module, ['first', 'sin'], SHAPE)
    for kind in (torch.float32, torch.float64):
        module.to(kind)
        x = y = torch.randn(2, *SHAPE, dtype=kind)
        for piece in pieces:
            y = piece(y)
        torch.testing.assert_close(y, module(x))


def test_a_number_that_is_neither_constant_nor_proportional_to_the_batch_stops_the_cutting():
    class Odd(Small):
        def between(self, x):
            odd = x.shape[0] + 1
            return x.sin() * odd

    assert 'sin' not in names(Odd())


def test_a_number_that_comes_from_the_values_stops_the_cutting():
    class Loudness(nn.Module):
        def forward(self, x):
            return float(x.abs().max())

    class Loud(Small):
        def __init__(self):
            super().__init__()
            self.loudness = Loudness()

        def between(self, x):
            return x.sin() / self.loudness(x)

    found = names(Loud())
    assert 'truediv' in found
    assert 'sin' not in found


def test_parameters_travel_with_the_stage_that_uses_them():
    module = torchvision.models.VisionTransformer(32, 16, 2, 2, 8, 16, num_classes=5)
    pieces, _ = staged(module, ['encoder.layers.encoder_layer_0', 'encoder'])
    held = {name for name, _ in pieces[0].named_parameters()}
    assert {'class_token', 'encoder.pos_embedding', 'conv_proj.weight'} <= held
    assert pieces[0].class_token is module.class_token
    assert not any('class_token' in name for name, _ in pieces[1].named_parameters())


def test_a_parameter_used_in_two_stages_is_shared():
    class Scaled(Small):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, x):
            x = self.first(x) * self.scale
            return self.classifier((self.second(x) * self.scale).mean((2, 3)))

    module = Scaled()
    pieces, run = staged(module, ['mul', 'second'])
    x = torch.randn(2, *SHAPE)
    assert torch.equal(run(x), module(x))
    assert pieces[0].scale is pieces[2].scale is module.scale


def test_a_constant_made_in_the_forward_is_kept_and_the_module_stays_clean():
    class Constant(Small):
        def between(self, x):
            return x * torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None, None]

    module = Constant()
    before = set(vars(module)) | set(module._buffers)
    find_cut_points(module, SHAPE)
    _, run = staged(module, ['mul'])
    x = torch.randn(2, *SHAPE)
    assert torch.equal(run(x), module(x))
    assert set(vars(module)) | set(module._buffers) == before


def test_cutting_leaves_every_submodule_in_its_mode():
    module = Small().train()
    module.second.eval()
    find_cut_points(module, SHAPE)
    cut(module, ['first'])
    assert module.training
    assert module.first.training
    assert not module.second.training


def test_functional_dropout_of_an_opened_forward_follows_the_mode():
    class Dropout(Small):
        def between(self, x):
            return F.dropout(x, 0.5, self.training)

        def forward(self, x):
            x = self.between(self.first(x))
            x = self.between(self.second(x))
            return self.classifier(x.mean((2, 3)))

    module = Dropout()
    pieces, run = staged(module, ['first', 'second'])
    x = torch.randn(4, *SHAPE)
    for mode in (True, False, True):
        module.train(mode)
        for piece in pieces:
            piece.train(mode)
        torch.manual_seed(1)
        expected = module(x)
        torch.manual_seed(1)
        assert torch.equal(run(x), expected)
    torch.manual_seed(2)
    assert not torch.equal(run(x), expected)


def test_a_flag_that_is_true_outside_training_follows_the_mode():
    class Backwards(Small):
        def between(self, x):
            return F.dropout(x, 0.5, training=not self.training)

    module = Backwards()
    pieces, run = staged(module, ['first', 'second'])
    x = torch.randn(4, *SHAPE)
    for mode in (True, False):
        module.train(mode)
        for piece in pieces:
            piece.train(mode)
        torch.manual_seed(1)
        expected = module(x)
        torch.manual_seed(1)
        assert torch.equal(run(x), expected)


def test_auxiliary_answers_of_training_are_left_out():
    class Auxiliary(Small):
        def __init__(self):
            super().__init__()
            self.aux = nn.Linear(4, 5)

        def forward(self, x):
            x = self.first(x)
            aux = self.aux(x.mean((2, 3))) if self.training else None
            answer = self.classifier(self.second(x).mean((2, 3)))
            return (answer, aux) if self.training else answer

    module = Auxiliary()
    pieces, run = staged(module, ['first'])
    x = torch.randn(2, *SHAPE)
    assert torch.equal(run(x), module(x)[0])
    assert not any('aux' in name for piece in pieces for name, _ in piece.named_parameters())


def test_other_differences_between_the_modes_are_refused_in_an_opened_forward():
    class Noisy(Small):
        def between(self, x):
            return x + torch.randn_like(x) if self.training else x

    with pytest.raises(CutError, match=r'Noisy computes something else in train\(\).*into a submodule'):
        cut(Noisy(), ['first'])


def test_other_differences_between_the_modes_are_fine_in_a_submodule():
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x) if self.training else x

    module = Small()
    module.second.insert(0, Noise())
    _, run = staged(module, ['first'])
    x = torch.randn(2, *SHAPE)
    torch.manual_seed(1)
    expected = module(x)
    torch.manual_seed(1)
    assert torch.equal(run(x), expected)


def test_a_forward_that_decides_by_values_is_refused_with_the_reason():
    class Deciding(Small):
        def between(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(CutError, match=r'Deciding cannot be traced: .*control flow.*submodule'):
        find_cut_points(Deciding(), SHAPE)


def test_a_submodule_that_decides_by_values_is_kept_whole():
    class Deciding(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    module = Small().eval()
    module.second.insert(0, Deciding())
    points = find_cut_points(module, SHAPE)
    assert {'first.1', 'second.2'} <= {point.name for point in points.points}
    _, run = staged(module, ['first'])
    for sign in (1, -1):
        x = sign * torch.rand(2, *SHAPE)
        assert torch.equal(run(x), module(x))


def test_a_module_called_twice_is_not_cut_in_its_second_call():
    class Twice(Small):
        def forward(self, x):
            x = self.second(self.second(self.first(x)))
            return self.classifier(x.mean((2, 3)))

    module = Twice()
    found = names(module)
    assert {'first.1', 'second.0', 'second.1', 'second_1'} <= set(found)
    assert not {'second_1.0', 'second_1.1'} & set(found)
    _, run = staged(module, ['second.0', 'second_1'])
    x = torch.randn(2, *SHAPE)
    assert torch.equal(run(x), module(x))


def test_a_classifier_without_a_place_to_cut_is_refused():
    class Tangled(Small):
        def forward(self, x):
            return self.classifier(self.second(self.first(x)).mean((2, 3))) + x.mean()

    with pytest.raises(CutError, match='Tangled has no place before its classifier'):
        find_cut_points(Tangled(), SHAPE)


def test_what_is_no_classifier_is_refused():
    with pytest.raises(CutError, match='one score per class'):
        find_cut_points(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), SHAPE)

    class Two(Small):
        def forward(self, x, mask):
            return super().forward(x) + mask

    with pytest.raises(CutError, match='needs mask beside the image'):
        find_cut_points(Two(), SHAPE)


def test_further_arguments_with_defaults_are_no_obstacle():
    class Optional(Small):
        def forward(self, x, mask=None, scale: float = 2.0):
            x = self.first(x)
            if mask is not None:
                x = x * mask
            return scale * self.classifier(self.second(x).mean((2, 3)))

    module = Optional()
    find_cut_points(module, SHAPE)
    _, run = staged(module, ['first'])
    x = torch.randn(2, *SHAPE)
    assert torch.equal(run(x), module(x))


def test_an_image_that_is_too_small_is_refused_with_the_reason():
    with pytest.raises(CutError, match=r'AlexNet does not take an input of 3x16x16: .*too small'):
        find_cut_points(empty('alexnet'), SHAPE)


def test_a_graph_that_fails_where_the_classifier_does_not_is_not_blamed_on_the_image():
    class Twofaced(Small):
        def between(self, x):
            return x.relu() if type(x) is torch.Tensor else x.no_such_method()

    with pytest.raises(
        CutError, match=r'Twofaced cannot be cut: it takes .* 3x16x16, .*no_such_method'
    ) as told:
        find_cut_points(Twofaced(), SHAPE)
    assert isinstance(told.value.__cause__, AttributeError)
    with pytest.raises(CutError) as told:
        find_cut_points(Twofaced().to('meta'), SHAPE)
    assert isinstance(told.value.__cause__, AttributeError)


def test_a_bug_of_our_own_is_not_blamed_on_the_image(monkeypatch):
    def broken(*_):
        raise KeyError('bug')

    monkeypatch.setattr('impatient_ros.network.cut_points._layout', broken)
    with pytest.raises(KeyError, match='bug'):
        find_cut_points(Small(), SHAPE)


def test_names_that_do_not_run_in_that_order_are_refused_when_cutting():
    with pytest.raises(CutError, match='order of the cuts'):
        cut(Small(), ['second', 'first'])
    with pytest.raises(CutError, match="no 'third'"):
        cut(Small(), ['third'])

    class Skip(Small):
        def between(self, x):
            return x.sin() + x

    with pytest.raises(CutError, match='first is still needed after sin: not a place to cut'):
        cut(Skip(), ['sin'])


def test_macs_of_a_module_are_counted_without_computing():
    assert macs.run(macs.without_data(nn.Conv2d(3, 8, 3, bias=False)), (2, 3, 10, 10)) == 2 * 8 * 8 * 8 * 27
