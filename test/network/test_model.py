"""The impatient network: the original in stages, and nothing run that was not asked for."""

import copy
import json
import logging
import subprocess
import sys
from itertools import accumulate, pairwise

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from impatient_ros.network import CutError, ImpatientNetwork, families, macs
from impatient_ros.network.__main__ import main
from impatient_ros.network.families.weights import classifier_of
from impatient_ros.network.macs import run, without_data
from training.model.small_backbones import SmallResNet


@pytest.fixture(autouse=True, scope='module')
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small(name='squeezenet1_1', **options):
    return ImpatientNetwork.from_torchvision(name, **({'exits': 3, 'classes': 4, 'image_size': 64} | options))


def calls(network):
    """The names of stages, exits and layers below them, as they are called."""
    record = []
    for name, module in network.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: record.append(name))
    return record


def test_it_has_as_many_exits_as_stages_and_gives_scores_for_each():
    network = small()
    scores = network(torch.randn(2, 3, 64, 64))
    assert len(network.stages) == len(network.exits) == len(scores) == 3
    assert all(each.shape == (2, 4) for each in scores)
    assert (network.classes, network.input_shape) == (4, (3, 64, 64))


def test_one_image_is_enough_in_eval_mode():
    assert all(each.shape == (1, 4) for each in small().eval()(torch.randn(1, 3, 64, 64)))


@pytest.mark.parametrize('t', [0, 1, 2])
def test_forward_to_runs_the_stages_before_it_and_its_own_head_and_nothing_else(t):
    network = small().eval()
    x = torch.randn(1, 3, 64, 64)
    expected = network(x)[t]
    record = calls(network)
    scores = network.forward_to(x, t)
    assert torch.equal(scores, expected)
    parts = [name for name in record if name.count('.') == 1]
    assert parts == [*(f'stages.{s}' for s in range(t + 1)), f'exits.{t}']
    assert all(name.startswith(tuple(f'{part}.' for part in parts)) for name in record if name.count('.') > 1)
    assert any(name.startswith(f'exits.{t}.') for name in record)


def test_forward_to_an_exit_that_does_not_exist_is_refused():
    for t in (-1, 3):
        with pytest.raises(IndexError, match='exits 0 to 2'):
            small().forward_to(torch.randn(1, 3, 64, 64), t)


def test_every_layer_of_the_original_runs_once():
    original = torchvision.models.squeezenet1_1(num_classes=4).eval()
    network = ImpatientNetwork.from_module(original, torch.zeros(1, 3, 64, 64), exits=3).eval()
    record = calls(original)

    def layers_run(module):
        record.clear()
        module(torch.zeros(1, 3, 64, 64))
        return [name for name in record if name not in ('', 'features', 'classifier')]

    assert layers_run(network) == layers_run(original)


# Each has something that behaves differently in training: dropout as a module or a function, stochastic
# depth, attention's dropout, batch norm, or an auxiliary classifier that is left out.
@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('resnet18', {}),
        ('efficientnet_b0', {}),
        ('convnext_tiny', {'stochastic_depth_prob': 0.5}),
        ('densenet121', {'drop_rate': 0.3}),
        ('swin_t', {'attention_dropout': 0.2, 'dropout': 0.2}),
        ('vit_b_32', {'dropout': 0.3, 'attention_dropout': 0.3}),
        ('squeezenet1_1', {}),
        ('googlenet', {'init_weights': False}),
    ],
)
@torch.no_grad()
def test_in_training_it_computes_what_the_original_computes(name, options):
    extra = {'image_size': 64} if name == 'vit_b_32' else {'aux_logits': False} if name == 'googlenet' else {}
    original = torchvision.models.get_model(name, num_classes=6, **options, **extra)
    nn.init.normal_(original.get_submodule(classifier_of(original)).weight)
    network = ImpatientNetwork.from_module(copy.deepcopy(original), torch.zeros(1, 3, 64, 64), exits=4)
    x = torch.randn(2, 3, 64, 64)

    def run(module):
        torch.manual_seed(7)
        answer = module(x)
        return answer[-1] if isinstance(answer, list) else answer

    for mode in (True, False):
        expected, scores = run(original.train(mode)), run(network.train(mode))
        assert (scores - expected).norm() <= 1e-5 * expected.norm()
    state = {}
    for part in (*network.stages, network.exits[-1]):
        state |= part.state_dict()
    for name, each in original.named_buffers():  # such as the statistics of batch norm
        torch.testing.assert_close(state[name], each)


def test_gradients_are_those_of_the_original():
    original = torchvision.models.resnet18(num_classes=4)
    network = ImpatientNetwork.from_module(copy.deepcopy(original), torch.zeros(1, 3, 64, 64), exits=4)
    x = torch.randn(2, 3, 64, 64)
    original(x).square().sum().backward()
    network(x)[-1].square().sum().backward()
    grads = {}
    for part in (*network.stages, network.exits[-1]):
        grads |= {name: each.grad for name, each in part.named_parameters()}
    for name, each in original.named_parameters():
        assert (grads[name] - each.grad).norm() <= 1e-4 * each.grad.norm(), name


def tiny_transformer(image_size=32):
    module = torchvision.models.VisionTransformer(image_size, 16, 3, 2, 32, 64, num_classes=4)
    nn.init.normal_(module.class_token)  # zeros at first: what is learned from it there cannot be seen
    return module


def tiny_swin():
    return torchvision.models.SwinTransformer([4, 4], 16, [1, 2], [2, 2], [4, 4], num_classes=4)


@pytest.mark.parametrize('build', [tiny_transformer, tiny_swin, torchvision.models.squeezenet1_1])
def test_gradients_reach_every_parameter(build):
    torch.manual_seed(0)
    module = build()
    classes = 1000 if build is torchvision.models.squeezenet1_1 else 4
    nn.init.normal_(module.get_submodule(classifier_of(module)).weight)
    network = ImpatientNetwork.from_module(module, torch.zeros(1, 3, 32, 32), exits=3, head_share=0.5)
    scores = network(torch.randn(4, 3, 32, 32))
    assert all(each.shape == (4, classes) for each in scores)
    sum(nn.functional.cross_entropy(each, torch.tensor([0, 1, 2, 3])) for each in scores).backward()
    assert [
        name for name, each in network.named_parameters() if each.grad is None or not each.grad.any()
    ] == []


def test_channels_last_gives_the_same():
    network = small('resnet18').eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(x)
        scores = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


def test_a_copy_computes_the_same_and_is_independent():
    network = small().eval()
    twin = copy.deepcopy(network)
    x = torch.randn(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(network(x), twin(x), strict=True))
    for each in twin.parameters():
        nn.init.zeros_(each)
    assert network(x)[0].abs().sum() > 0


def test_costs_are_macs_up_to_each_exit():
    network = small().eval()
    stages, exits = network.stage_macs, network.exit_macs
    assert macs.run(macs.without_data(network), (1, 3, 64, 64)) == sum(stages) + sum(exits)
    assert network.costs('contract') == tuple(a + b for a, b in zip(accumulate(stages), exits, strict=True))
    assert network.costs('interruptible')[-1] == sum(stages) + sum(exits)
    assert network.costs() == network.costs('contract')
    assert all(a < b for mode in ('contract', 'interruptible') for a, b in pairwise(network.costs(mode)))
    with pytest.raises(ValueError, match="write 'contract' or 'interruptible'"):
        network.costs('adaptive')


def test_one_exit_is_the_original_alone():
    network = small(exits=1)
    assert len(network.stages) == len(network.exits) == 1
    assert sum(network.costs()) == pytest.approx(
        macs.run(macs.without_data(torchvision.models.squeezenet1_1(num_classes=4)), (1, 3, 64, 64))
    )


def test_cuts_can_be_named_and_are_recorded():
    network = small('resnet18', exits=3, cuts=['layer1', 'layer2.1'])
    assert network.config['cuts'] == ['layer1.1', 'layer2.1', 'layer4.1']
    with pytest.raises(CutError, match=r'did you mean layer2\.1'):
        small('resnet18', cuts=['layer1', 'layer21'])


def test_images_need_not_be_square():
    network = small('resnet18', image_size=(64, 96)).eval()
    assert network.input_shape == (3, 64, 96)
    assert network(torch.randn(1, 3, 64, 96))[-1].shape == (1, 4)


def test_a_seed_gives_the_weights_that_torchvision_gives():
    torch.manual_seed(5)
    original = torchvision.models.resnet18(num_classes=4)
    torch.manual_seed(5)
    network = small('resnet18')
    state = {}
    for part in (*network.stages, network.exits[-1]):
        state |= part.state_dict()
    assert all(torch.equal(each, state[name]) for name, each in original.state_dict().items())


def test_its_config_rebuilds_it():
    network = small()
    config = json.loads(json.dumps(network.config))
    twin = ImpatientNetwork.from_config(config)
    twin.load_state_dict(network.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(network.eval()(x), twin.eval()(x), strict=True))
    assert twin.config == network.config


# --- heads that end in the network's own final layer


def many(classes=250, **options):
    """A residual network of few channels, for many classes."""
    return ImpatientNetwork.from_module(
        SmallResNet(classes, (8, 16), 1), torch.zeros(1, 3, 32, 32), exits=3, head_share=1.0, **options
    )


def test_many_classes_make_exits_that_end_in_the_same_layer():
    network = many()
    layer = network.get_submodule('exits.2.classify')
    assert [head.classify is layer for head in network.exits[:-1]] == [True, True]
    assert sum(each is layer.weight for each in network.parameters()) == 1
    for options in ({'classes': 20}, {'head_kind': 'own'}):
        heads = many(**options).config['heads']
        assert not any('shared' in head for head in heads)


def test_the_shared_layer_learns_from_every_exit_and_freezes_with_the_network():
    network = many()
    layer = network.get_submodule('exits.2.classify')
    x, gradients = torch.randn(4, 3, 32, 32), []
    for t in range(3):
        network.zero_grad()
        network.forward_to(x, t).square().sum().backward()
        gradients.append(layer.weight.grad.clone())
    assert all(each.abs().sum() > 0 for each in gradients)
    network.zero_grad()
    network.exits[-1].requires_grad_(requires_grad=False)
    sum(scores.square().sum() for scores in network(x)).backward()
    assert layer.weight.grad is None
    assert all(each.grad.abs().sum() > 0 for head in network.exits[:-1] for each in head.expand.parameters())


def test_what_sharing_exits_cost_is_what_is_counted():
    network = many().eval()
    boundary = torch.zeros(1, 3, 32, 32)
    for stage, head, cost in zip(network.stages, network.exits, network.exit_macs, strict=True):
        boundary = stage(boundary)
        assert cost == run(without_data(head), boundary.shape)


def test_sharing_survives_a_copy_a_rebuild_and_another_size():
    network = many().train()
    for _ in range(2):
        network(torch.randn(4, 3, 32, 32))
    network.eval()
    rebuilt = ImpatientNetwork.from_config(
        json.loads(json.dumps(network.config)), SmallResNet(250, (8, 16), 1)
    )
    rebuilt.load_state_dict(network.state_dict())
    x = torch.randn(2, 3, 32, 32)
    for twin in (copy.deepcopy(network), rebuilt.eval()):
        layer = twin.get_submodule('exits.2.classify')
        assert layer is not network.get_submodule('exits.2.classify')
        assert all(head.classify is layer for head in twin.exits[:-1])
        torch.testing.assert_close(twin(x), network(x))
    smaller = network.at(24)
    assert [id(each) for each in smaller.parameters()] == [id(each) for each in network.parameters()]
    assert all(scores.shape == (2, 250) for scores in smaller(torch.randn(2, 3, 24, 24)))
    assert smaller.exit_macs[0] < network.exit_macs[0]


def test_a_rebuild_around_a_module_with_another_final_layer_is_refused():
    with pytest.raises(ValueError, match='16 features and 250 classes'):
        ImpatientNetwork.from_config(many().config, SmallResNet(250, (8, 24), 1))


def test_a_kind_of_head_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match='head_kind'):
        many(head_kind='mine')
    with pytest.raises(ValueError, match='does not end in a Linear layer'):
        ImpatientNetwork.from_torchvision('squeezenet1_1', exits=3, image_size=64, head_kind='shared')


# --- weights


@pytest.fixture
def state():
    return torchvision.models.squeezenet1_1(num_classes=4).state_dict()


def same_backbone(network, state, but=()):
    own = {}
    for part in (*network.stages, network.exits[-1]):
        own |= part.state_dict()
    return all(torch.equal(own[name], each) for name, each in state.items() if name not in but)


@pytest.mark.parametrize('kind', ['pth', 'wrapped', 'safetensors'])
def test_weights_are_loaded_from_a_file(tmp_path, state, kind):
    path = tmp_path / ('weights.safetensors' if kind == 'safetensors' else 'weights.pth')
    if kind == 'safetensors':
        save_file(state, path)
    else:
        torch.save({'state_dict': state} if kind == 'wrapped' else state, path)
    network = ImpatientNetwork.from_torchvision('squeezenet1_1', exits=2, weights=path, image_size=64)
    assert network.classes == 4
    assert same_backbone(network, state)


@pytest.mark.parametrize(('name', 'layer'), [('squeezenet1_1', 'classifier.1'), ('shufflenet_v2_x0_5', 'fc')])
def test_weights_for_other_classes_leave_the_last_layer_fresh_and_say_so(tmp_path, caplog, name, layer):
    state = torchvision.models.get_model(name, num_classes=4).state_dict()
    torch.save(state, tmp_path / 'weights.pth')
    with caplog.at_level(logging.INFO):
        network = small(name, weights=str(tmp_path / 'weights.pth'), classes=7)
    assert network.classes == 7
    assert same_backbone(network, state, but=(f'{layer}.weight', f'{layer}.bias'))
    assert f'the weights are for 4 classes, the network for 7: {layer} starts afresh' in caplog.text
    assert network(torch.randn(2, 3, 64, 64))[-1].shape == (2, 7)


def test_weights_with_an_auxiliary_classifier_lose_it(tmp_path):
    state = torchvision.models.googlenet(num_classes=4, init_weights=False).state_dict()
    torch.save(state, tmp_path / 'weights.pth')
    network = small('googlenet', weights=tmp_path / 'weights.pth')
    assert same_backbone(network, {name: each for name, each in state.items() if not name.startswith('aux')})


def test_position_embeddings_are_interpolated_to_other_sizes(caplog):
    state = tiny_transformer(48).state_dict()
    module = tiny_transformer(32)
    with caplog.at_level(logging.INFO):
        families.find('torchvision').load_weights(module, state, 'vit')
    assert 'interpolated to images of 32 pixels' in caplog.text
    own = module.state_dict()
    assert own['encoder.pos_embedding'].shape == (1, 5, 32)
    assert all(torch.equal(own[name], state[name]) for name in own if name != 'encoder.pos_embedding')


def test_torchvisions_own_weights_are_found_by_name(monkeypatch):
    wanted = []

    def get_state_dict(self, *args, **kwargs):
        wanted.append(self)
        return torchvision.models.googlenet(init_weights=False).state_dict()

    monkeypatch.setattr(torchvision.models.WeightsEnum, 'get_state_dict', get_state_dict)
    network = small('googlenet', weights='DEFAULT')
    assert wanted == [torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1]
    # These weights expect images normalised otherwise; the network converts them itself.
    assert network.config['backbone']['options'] == {'transform_input': True}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: state.pop('features.0.weight'), 'features.0.weight is missing'),
        (lambda state: state.update(extra=torch.zeros(1)), 'extra is unknown'),
        (
            lambda state: state.update({'features.0.weight': torch.zeros(64, 3, 5, 5)}),
            r'features.0.weight is \[64, 3, 5, 5\] instead of \[64, 3, 3, 3\]',
        ),
        (
            lambda state: state.update({'classifier.1.weight': torch.zeros(4, 9, 1, 1)}),
            'classifier.1.weight is',
        ),
        (lambda state: state.clear(), 'is not a state dict'),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, state, change, message):
    change(state)
    torch.save(state, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match=message):
        small(weights=tmp_path / 'weights.pth')


class Malicious:
    def __reduce__(self):
        return print, ('executed',)


@pytest.mark.parametrize('content', ['text', 'pickle', 'empty', 'tensor'])
def test_a_file_that_is_no_state_dict_is_refused_and_runs_nothing(tmp_path, content, capsys):
    path = tmp_path / 'weights.pth'
    if content == 'text':
        path.write_text('no weights')
    elif content == 'empty':
        path.write_bytes(b'')
    else:
        torch.save({'weights': Malicious()} if content == 'pickle' else torch.zeros(3), path)
    with pytest.raises(ValueError, match='is not a state dict'):
        small(weights=path)
    assert 'executed' not in capsys.readouterr().out


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({'name': 'resnet19'}, ValueError, 'no classifier .resnet19.; did you mean resnet18'),
        ({'name': 'q'}, ValueError, 'there are alexnet'),
        ({'exits': 0}, ValueError, 'exits is 0'),
        ({'exits': 99}, ValueError, '99 exits do not fit'),
        ({'classes': 0}, ValueError, 'classes is 0'),
        ({'classes': 2.0}, ValueError, 'classes is 2.0'),
        ({'weights': 'IMAGENET'}, ValueError, 'no weights .IMAGENET.: write one of IMAGENET1K_V1'),
        ({'weights': 'gone.pth'}, FileNotFoundError, 'no file gone.pth'),
        ({'image_size': 0}, ValueError, 'image_size is 0'),
        ({'image_size': (64, 64, 3)}, ValueError, 'image_size is'),
        ({'name': 'alexnet', 'image_size': 16}, ValueError, 'does not take an input of 3x16x16'),
        ({'name': 'vit_b_32', 'image_size': 65}, ValueError, 'vit_b_32 for images of 65x65: .*patch size'),
        ({'name': 'vit_b_32', 'image_size': (64, 96)}, ValueError, 'square images'),
        ({'name': 'maxvit_t', 'image_size': 100}, ValueError, 'maxvit_t for images of 100x100'),
        ({'surprise': 1}, ValueError, 'torchvision does not build squeezenet1_1 .*surprise'),
        ({'head_share': -1}, ValueError, 'head_share'),
    ],
)
def test_what_cannot_be_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        small(**({'name': 'squeezenet1_1'} | options))


# --- other classifiers


def test_a_module_of_ones_own_is_used_not_copied():
    module = torchvision.models.resnet18(num_classes=4)
    network = ImpatientNetwork.from_module(module, torch.zeros(1, 3, 64, 64), exits=3, classes=4)
    assert {id(each) for each in module.parameters()} <= {id(each) for each in network.parameters()}
    with pytest.raises(ValueError, match='gives 4 scores, not 5'):
        ImpatientNetwork.from_module(module, torch.zeros(1, 3, 64, 64), classes=5)
    with pytest.raises(ValueError, match='example_input'):
        ImpatientNetwork.from_module(module, (1, 3, 64, 64))


def test_cut_points_of_a_module_are_listed():
    module = torchvision.models.resnet18(num_classes=4)
    points = ImpatientNetwork.cut_points(module, torch.zeros(1, 3, 64, 64))
    assert 'layer2.1' in [point.name for point in points]
    assert points[0].shape == (64, 32, 32)


@pytest.mark.parametrize('name', ['resnet10t', 'vit_tiny_patch16_224', 'efficientnet_lite0'])
def test_classifiers_of_timm_become_impatient(name):
    timm = pytest.importorskip('timm')
    module = timm.create_model(name, num_classes=4)
    size = 224 if 'vit' in name else 96
    network = ImpatientNetwork.from_module(module, torch.zeros(1, 3, size, size), exits=4).eval()
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[-1], module.eval()(x), rtol=1e-5, atol=1e-6)
    assert sum(network.exit_macs[:-1]) < 0.05 * network.costs()[-1]


# --- command line


def test_the_command_line_lists_cut_points_and_marks_the_chosen(capsys):
    assert main(['resnet18', '--image-size', '96', '--exits', '3']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith('layer2.1')).split()[1] == '128x12x12'
    assert sum('exit 1 of 3' in line for line in lines) == 1
    assert 'exit 3 of 3' in next(line for line in lines if line.startswith('layer4.1'))


def test_the_command_line_names_what_is_wrong(capsys):
    assert main(['resnet19']) == 2
    assert 'did you mean resnet18' in capsys.readouterr().err


def test_the_command_line_runs_as_a_module():
    command = [sys.executable, '-W', 'error', '-m', 'impatient_ros.network', 'alexnet', '--exits', '2']
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'exit 1 of 2' in done.stdout
