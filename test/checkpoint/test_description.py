"""What a description says is checked before anything is built from it: kinds, ranges, sizes."""

import pytest
import torch
from checkpoint_files import SIZE, rewrite, without_graph, write

from impatient_ros.checkpoint import CheckpointError, load, read
from impatient_ros.network import ImpatientNetwork


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    torch.manual_seed(0)
    network = ImpatientNetwork.from_torchvision('squeezenet1_1', exits=3, classes=4, image_size=SIZE)
    path = tmp_path_factory.mktemp('checkpoint') / 'model.safetensors'
    write(network.eval(), path, accuracies=[0.5, 0.7, 0.65])
    return path


@pytest.fixture(scope='module')
def old(written):
    """The same in the first version of the format: without a graph."""
    return without_graph(written, written.with_name('old'))


def drop(tensors, name):
    del tensors[name]


def record(**values):
    """What a checkpoint with three exits says of a precision."""
    return {
        'pictures': 1000,
        'measured': 'validation',
        'accuracies': [[0.5, 0.6, 0.7]],
        'temperatures': [[1.0, 1.5, 2.0]],
        'drops': [[[0.001, -0.001, 0.003]] * 3],
    } | values


def nested(depth):
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda d: d.pop('labels'), 'labels is missing'),
        (lambda d: d['labels'].pop(), '3 labels for 4 classes'),
        (lambda d: d['accuracies'].append(0.5), '4 accuracies for 3 exits'),
        (lambda d: d.update(temperatures=None), 'temperatures is missing'),
        (lambda d: d['preprocessing'].update(std=[0, 1, 1]), 'std'),
        (lambda d: d['preprocessing'].update(std=[1e-300, 1, 1]), 'std'),
        (lambda d: d['preprocessing'].update(mean=[1e300, 1, 1]), 'mean'),
        (lambda d: d.update(preprocessing={}), 'preprocessing: missing'),
        (lambda d: d['network'].update(classes='four'), "classes is 'four'"),
        (lambda d: d['network'].update(classes=1 << 20), 'classes is 1048576'),
        (lambda d: d['network'].update(heads=[]), r'heads is \[\] for 3 exits'),
        (lambda d: d['network']['heads'][0].update(depth=1 << 20), 'heads has 1048576'),
        (lambda d: d['network'].update(stage_macs=[1]), r'stage_macs is \[1\] for 3 exits'),
        (lambda d: d['network'].update(stage_macs=[1, 1, 10**400]), 'stage_macs is'),
        (lambda d: d['network'].update(input_shape=[3, 0, 32]), 'input_shape is'),
        (lambda d: d['network'].update(input_shape=[3, 8192, 8192]), r'input_shape is \[3, 8192, 8192\]'),
        (lambda d: d['network'].update(input_shape=[32, 32]), 'input_shape is'),
        (lambda d: d['network'].update(cuts=['x' * 1_000_000, 'b', 'c']), "cuts is .'xxx"),
        (lambda d: d['network'].update(cuts=['x'] * 1000), 'cuts is'),
        (lambda d: d['network'].update(backbone='resnet18'), "backbone is 'resnet18'"),
        (lambda d: d['network']['backbone'].update(source=['url']), 'backbone is'),
        (lambda d: d['network']['backbone'].update(name=None), 'backbone is'),
        (lambda d: d['network']['backbone'].update(options={'layers': 20_000_000}), 'backbone has 20000000'),
        (lambda d: d['network']['backbone'].update(options={'a': [0] * 10_000}), 'backbone takes more than'),
        (lambda d: d.update(labels=['x' * 50_000] * 4), 'longer than 1000'),
        (lambda d: d['labels'].__setitem__(0, 'a\0b'), 'no Unicode text'),
        (lambda d: d['labels'].__setitem__(0, 'a\ud800'), 'no Unicode text'),
        (lambda d: d['provenance'].update(log='x' * 2_000_000), 'provenance takes more than'),
        (lambda d: d['provenance'].update(log=nested(100)), 'nested too deeply'),
        (lambda d: d.update(same={'a': 1}), 'same is'),
        (lambda d: d.update(network_only=[1]), 'network_only is'),
        (lambda d: d.update(precisions=[]), r'precisions is \[\]'),
        (lambda d: d.update(precisions={'f64': record()}), 'a mapping of bf16, f16, int8'),
        (lambda d: d.update(precisions={'bf16': 1}), 'bf16: 1 is no mapping'),
        (lambda d: d.update(precisions={'bf16': {}}), 'bf16: pictures is missing'),
        (lambda d: d.update(precisions={'bf16': record(pictures=0)}), 'pictures is 0'),
        (lambda d: d.update(precisions={'bf16': record(pictures=1e3)}), 'pictures is 1000.0'),
        (lambda d: d.update(precisions={'bf16': record(pictures=1 << 40)}), 'pictures is 1099511627776'),
        (lambda d: d.update(precisions={'bf16': record(measured=None)}), 'measured is missing'),
        (lambda d: d.update(precisions={'bf16': record(measured='x' * 5000)}), 'at most 1000 characters'),
        (lambda d: d.update(precisions={'bf16': record(accuracies=[])}), r'accuracies is \[\] for 1 resol'),
        (lambda d: d.update(precisions={'bf16': record(accuracies=[[0.5]])}), '1 accuracies for 3 exits'),
        (lambda d: d.update(precisions={'bf16': record(accuracies=[[2.0] * 3])}), '2.0 is not between 0'),
        (lambda d: d.update(precisions={'bf16': record(temperatures=[[0.0] * 3])}), '0.0 is not between'),
        (lambda d: d.update(precisions={'bf16': record(drops=[[[0.0] * 3]])}), r'drops is .* for 3 exits'),
        (lambda d: d.update(precisions={'bf16': record(drops=[[[0.0] * 2] * 3])}), '2 drops for 3 exits'),
        (lambda d: d.update(precisions={'bf16': record(drops=[[[0.1, 0.2, 0.3]] * 3])}), 'not between the'),
        (lambda d: d.update(precisions={'bf16': record(drops=[[[9.0] * 3] * 3])}), '9.0 is not between -1'),
        (lambda d: d.update(precisions={'int8': record()}), 'int8 graph and what precisions says'),
    ],
)
def test_what_is_missing_out_of_range_or_too_large_is_refused(written, tmp_path, change, message):
    path = rewrite(written, tmp_path / 'changed', lambda d, m, t: change(d))
    for reading in (read, load):
        with pytest.raises(CheckpointError, match=message) as refused:
            reading(path)
        assert len(str(refused.value)) < 500  # a long value is not said whole


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda d: d['network']['backbone'].update(name='os.system'), "no classifier 'os.system'"),
        (lambda d: d['network']['backbone'].update(options={'weights': 'DEFAULT'}), 'cannot be built'),
        (lambda d: d['network']['backbone'].update(source='url'), 'cannot be built'),
        (lambda d: d['network'].update(cuts=['a', 'b', 'c']), "no 'a' to cut after"),
        (lambda d: d['network']['heads'][0].update(layout='X'), 'not the description of a head'),
        (lambda d: d['network']['heads'][0].update(depth=60_000), 'more layers than its'),
        (lambda d: d.update(same={'a': 'b'}), 'a is said to be the same as b'),
        (
            lambda d: d['network']['backbone'].update(name='resnet18'),
            "cannot be built: ResNet has no 'features",
        ),
    ],
)
def test_what_no_network_can_be_built_from_is_refused(written, tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        load(rewrite(written, tmp_path / 'forged', lambda d, m, t: change(d)))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda t: drop(t, 'exits.0.classify.bias'), 'exits.0.classify.bias is missing'),
        (lambda t: t.update(extra=torch.zeros(1)), 'extra is not of this network'),
        (lambda t: t.update(graph=torch.zeros(1, dtype=torch.uint8)), 'graph is not of this network'),
        (
            lambda t: t.update({'exits.0.classify.bias': torch.zeros(5)}),
            r'exits.0.classify.bias is \[5\] instead of \[4\]',
        ),
        (
            lambda t: t.update({'exits.0.classify.bias': torch.zeros(4, dtype=torch.int32)}),
            'exits.0.classify.bias is torch.int32 instead of torch.float32',
        ),
        (lambda t: t['exits.0.classify.bias'].fill_(torch.nan), 'not finite numbers'),
    ],
)
def test_tensors_that_do_not_fit_the_network_are_refused(old, tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        load(rewrite(old, tmp_path / 'changed', lambda d, m, t: change(t)))


def test_loading_makes_one_pass_and_computes_no_numbers(written):
    """Whatever sizes a file asks for: the pass is made without data."""
    passes = {}

    def count(module, given, _):
        if isinstance(module, torch.nn.Conv2d) and isinstance(given[0], torch.Tensor):
            passes.setdefault(id(module), []).append(given[0].device.type)

    with torch.nn.modules.module.register_module_forward_hook(count):
        load(written)
    assert passes
    assert all(devices == ['meta'] for devices in passes.values())


def test_a_network_that_does_not_take_its_images_is_refused(old, tmp_path):
    """Each part is in order by itself; only a pass shows that they do not go together."""

    def small(description, metadata, tensors):
        description['network']['input_shape'] = [3, 4, 4]
        description['preprocessing'].update(size=[4, 4])

    with pytest.raises(CheckpointError, match='does not take images of'):
        load(rewrite(old, tmp_path / 'small', small))
