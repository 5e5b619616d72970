"""A checkpoint carries everything; a file that is not whole and consistent is refused, and says why."""

import copy
import hashlib
import json
import math
import socket
import stat
import struct
from dataclasses import FrozenInstanceError

import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from impatient_ros.checkpoint import Checkpoint, CheckpointError, load, save
from impatient_ros.checkpoint.container import FORMAT_VERSION
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network import ImpatientNetwork

LABELS = ('shirt', 'hat', 'jupe à plis', 'ズボン')
SIZE = 32


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


def write(network, path, **values):
    preprocessing = Preprocessing(SIZE, 36)
    save(network, path, **({'labels': LABELS, 'preprocessing': preprocessing} | values))


def same(first, second, shape=(2, 3, SIZE, SIZE)):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return all(torch.equal(a, b) for a, b in zip(first(x), second(x), strict=True))


def rewrite(source, target, change):
    """Write `source` again with its description, metadata and tensors as `change` leaves them."""
    with safe_open(source, 'pt') as file:
        metadata = file.metadata()
    description, tensors = json.loads(metadata['description']), load_file(source)
    change(description, metadata, tensors)
    metadata['description'] = json.dumps(description, ensure_ascii=False)
    save_file(tensors, target, metadata)
    return target


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


def test_channels_last_and_half_precision_weights_survive(network, tmp_path):
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    write(last, tmp_path / 'last')
    assert same(load(tmp_path / 'last').network, network)
    write(copy.deepcopy(network).bfloat16(), tmp_path / 'half')
    loaded = load(tmp_path / 'half').network
    assert {each.dtype for each in loaded.parameters()} == {torch.bfloat16}


# --- modules of one's own


class Shared(nn.Module):
    """Uses one block and one parameter in every stage."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.classifier = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        for _ in range(3):
            x = self.block(x) * self.scale
        return self.classifier(x.mean((2, 3)))


def from_shared():
    return ImpatientNetwork.from_module(
        Shared(), torch.zeros(1, 3, SIZE, SIZE), exits=3, cuts=['mul', 'mul_1']
    )


def test_a_network_from_a_module_is_loaded_into_that_module(tmp_path):
    network = from_shared()
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
    network = from_shared().eval()
    write(network, tmp_path / 'model')
    stored = load_file(tmp_path / 'model')
    assert sum('scale' in name for name in stored) == 1
    assert sum(name.endswith('block.0.weight') for name in stored) == 1
    loaded = load(tmp_path / 'model', module=Shared()).network
    assert loaded.stages[0].scale is loaded.stages[1].scale


def test_a_module_that_does_not_fit_is_refused(written, tmp_path):
    write(from_shared().eval(), tmp_path / 'model')
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


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / 'gone')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (lambda data: b'', 'not a safetensors file'),
        (lambda data: b'no checkpoint at all', 'not a safetensors file'),
        (lambda data: b'\xff\xd8\xff\xe0' * 100, 'not a safetensors file'),
        (lambda data: data[:6], 'not a safetensors file'),
        (lambda data: data[:100], 'truncated: 100 bytes, its header alone takes'),
        (lambda data: data[:-1], 'truncated: .* bytes of'),
        (lambda data: data[: len(data) // 2], 'truncated'),
        (lambda data: data + b'more', 'damaged'),
        (lambda data: data[:8] + b'{' * 100 + data[108:], 'damaged: its header is not JSON'),
        (lambda data: struct.pack('<Q', 1 << 62) + data[8:], 'not a safetensors file'),
        (lambda data: struct.pack('<Q', 200_000) + b'{"a":' * 40_000, 'damaged: its header is not JSON'),
        (
            lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
            'its tensors do not match their checksum',
        ),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(written, tmp_path, content, message):
    path = tmp_path / 'damaged.safetensors'
    path.write_bytes(content(written.read_bytes()))
    with pytest.raises(CheckpointError, match=rf'damaged.safetensors: .*{message}'):
        load(path)


def drop(tensors, name):
    del tensors[name]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda d, m, t: m.pop('format'), 'not a checkpoint of impatient_ros'),
        (
            lambda d, m, t: m.update(version='2'),
            f'of format version 2, this program reads version {FORMAT_VERSION}',
        ),
        (lambda d, m, t: drop(t, 'exits.0.classify.bias'), 'exits.0.classify.bias is missing'),
        (lambda d, m, t: t.update(extra=torch.zeros(1)), 'extra is not of this network'),
        (
            lambda d, m, t: t.update({'exits.0.classify.bias': torch.zeros(5)}),
            r'exits.0.classify.bias is \[5\] instead of \[4\]',
        ),
        (
            lambda d, m, t: t.update({'exits.0.classify.bias': torch.zeros(4, dtype=torch.int32)}),
            'exits.0.classify.bias is torch.int32 instead of torch.float32',
        ),
        (lambda d, m, t: t.update({'exits.0.classify.bias': torch.zeros(4)}), 'do not match their checksum'),
        (lambda d, m, t: d.pop('labels'), 'labels is missing'),
        (lambda d, m, t: d['labels'].pop(), '3 labels for 4 classes'),
        (lambda d, m, t: d['accuracies'].append(0.5), '4 accuracies for 3 exits'),
        (lambda d, m, t: d.update(temperatures=[1.0, 1.0, 1e999]), 'description is not JSON'),
        (lambda d, m, t: d.update(temperatures=None), 'temperatures is missing'),
        (lambda d, m, t: d['preprocessing'].update(std=[0, 1, 1]), 'std'),
        (lambda d, m, t: d.update(preprocessing={}), 'preprocessing: missing'),
        (lambda d, m, t: d['network'].update(classes='four'), "classes is 'four'"),
        (lambda d, m, t: d['network'].update(heads=[]), r'heads is \[\] for 3 exits'),
        (lambda d, m, t: d['network'].update(stage_macs=[1]), r'stage_macs is \[1\] for 3 exits'),
        (lambda d, m, t: d['network'].update(input_shape=[3, 0, 32]), 'input_shape is'),
        (lambda d, m, t: d['network'].update(backbone='resnet18'), 'backbone is'),
        (lambda d, m, t: d['network']['backbone'].update(source=['url']), 'backbone is'),
        (
            lambda d, m, t: d['network']['backbone'].update(name='resnet18'),
            'description does not match its checksum',
        ),
        (lambda d, m, t: d.update(same={'a': 'b'}), 'description does not match its checksum'),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused_with_the_reason(written, tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        load(rewrite(written, tmp_path / 'changed', change))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda d: d['network']['backbone'].update(name='os.system'), "no classifier 'os.system'"),
        (lambda d: d['network']['backbone'].update(options={'weights': 'DEFAULT'}), 'cannot be built'),
        (lambda d: d['network'].update(cuts=['a', 'b', 'c']), "no 'a' to cut after"),
        (lambda d: d['network']['heads'][0].update(layout='X'), 'not the description of a head'),
        (lambda d: d.update(same={'a': 'b'}), 'a is said to be the same as b'),
        (
            lambda d: d['network']['backbone'].update(name='resnet18'),
            "cannot be built: ResNet has no 'features",
        ),
    ],
)
def test_a_forged_description_is_refused_with_the_reason(written, tmp_path, change, message):
    """Its checksum matches, so what is refused is what it says."""

    def forge(description, metadata, tensors):
        change(description)
        metadata['description_sha256'] = hashlib.sha256(
            json.dumps(description, ensure_ascii=False).encode()
        ).hexdigest()

    with pytest.raises(CheckpointError, match=message):
        load(rewrite(written, tmp_path / 'forged', forge))


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """A checkpoint of a few kilobytes, of which the header is the greater part."""
    torch.manual_seed(0)
    network = from_shared().eval()
    path = tmp_path_factory.mktemp('tiny') / 'model.safetensors'
    write(network, path)
    return path, network


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_corruption_is_refused_or_harmless(tiny, tmp_path, data):
    path, network = tiny
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        # Half of them in the header, where more can go wrong.
        end = (
            len(content)
            if data.draw(st.booleans())
            else min(8 + struct.unpack('<Q', content[:8])[0], len(content)) or 1
        )
        at = data.draw(st.integers(0, max(end - 1, 0)))
        kind = data.draw(st.sampled_from(['flip', 'set', 'cut', 'insert', 'erase']))
        if kind == 'flip':
            content[at : at + 1] = bytes(
                each ^ (1 << data.draw(st.integers(0, 7))) for each in content[at : at + 1]
            )
        elif kind == 'set':
            content[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
        elif kind == 'cut':
            del content[at:]
        elif kind == 'insert':
            content[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        else:
            del content[at : at + data.draw(st.integers(1, 9))]
        content = content if len(content) > 8 else bytearray(9)
    broken = tmp_path / 'broken'
    broken.write_bytes(bytes(content))
    try:
        checkpoint = load(broken, module=Shared())
    except CheckpointError:
        return
    assert isinstance(checkpoint, Checkpoint)
    assert same(checkpoint.network, network)
    assert checkpoint.labels == LABELS
