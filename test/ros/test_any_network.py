"""Networks of any origin in the running node, from their file alone: without their code and without torch."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import LABELS, SIZE, Shared, randomised, shared_network, write
from robot import NodeProcess, Robot

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.checkpoint import Preprocessing
from impatient_ros.network import ImpatientNetwork, families
from impatient_ros.perception.frame_record import Outcome
from impatient_ros.ros.messages import nanoseconds
from impatient_ros.runtime import RuntimeUnavailableError, registry

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]

# Python imports a module of this name by itself when it starts.
SITECUSTOMIZE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'torchvision', 'timm'):
            raise ModuleNotFoundError('blocked: ' + name, name=name)

sys.meta_path.insert(0, Blocked())
print('torch and timm are blocked', file=sys.stderr)
"""


class Ours(families.Family):
    """Of an installed package as far as this process can tell; the node's knows nothing of it."""

    name = 'ours'

    def classifiers(self):
        return ['shared']

    def create(self, name, *, classes, image_size, options):
        return Shared()


def of_timm(monkeypatch):
    pytest.importorskip('timm')
    return ImpatientNetwork.from_timm('resnet10t', exits=3, classes=4, image_size=64)


def of_an_entry_point(monkeypatch):
    find = families.find
    with monkeypatch.context() as here:
        here.setattr(families, 'find', lambda name: Ours() if name == 'ours' else find(name))
        return ImpatientNetwork.from_family('ours', 'shared', exits=3, classes=4, image_size=SIZE)


def of_a_module(monkeypatch):
    return shared_network()


def saved(network, folder):
    path = folder / 'network.safetensors'
    write(randomised(network, network.input_shape[1]), path, preprocessing=preprocessing(network))
    return path


def preprocessing(network):
    return Preprocessing.for_image_size(network.input_shape[1])


def pictures():
    """Five whose colours differ, uint8 [48, 64, 3]."""
    random = np.random.default_rng(3)
    colours = random.integers(0, 256, (5, 1, 1, 3))
    noise = random.integers(-40, 41, (5, 48, 64, 3))
    return np.clip(colours + noise, 0, 255).astype(np.uint8)


@torch.no_grad()
def expected(network, picture):
    """What torch says of a picture at each exit: probabilities [exits, classes]."""
    scores = network(torch.from_numpy(preprocessing(network)(picture)))
    return torch.cat(scores).softmax(1).numpy()


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.close()


def answered(robot, picture, exits):
    """What the node says of a picture at each exit, in the same form."""
    record = robot.ask(picture=picture)
    assert (record.outcome, record.exit_index, record.exits) == (Outcome.answered, exits - 1, exits)

    def found():
        return [m for m in robot.answers['camera'] if nanoseconds(m.header.stamp) == robot.asked]

    robot.wait_for(lambda: len(found()) == exits)
    scores = [{result.class_id: result.score for result in message.results} for message in found()]
    return np.array([[each[label] for label in LABELS] for each in scores]), found()[-1].results[0].class_id


def maps(pid):
    return Path(f'/proc/{pid}/maps').read_text()


@pytest.mark.parametrize('make', [of_timm, of_an_entry_point, of_a_module])
def test_the_node_answers_as_the_network_does_in_torch(make, robot, tmp_path, monkeypatch):
    network = make(monkeypatch)
    path = saved(network, tmp_path)
    if make is of_timm:
        (tmp_path / 'sitecustomize.py').write_text(SITECUSTOMIZE)
        monkeypatch.setenv('PYTHONPATH', str(tmp_path), prepend=os.pathsep)
    parameters = ('budget.fixed:=20.0', 'mode:=interruptible', 'publish_mode:=every')
    with NodeProcess(tmp_path / 'node.log', f'model:={path}', *parameters) as node:
        robot.wait_for_node()
        robot.wait_until(lambda: robot.state() == 'active')
        classes = set()
        for picture in pictures():
            probabilities = expected(network, picture)
            scores, label = answered(robot, picture, exits=3)
            np.testing.assert_allclose(scores, probabilities, atol=1e-4)
            assert label == LABELS[probabilities[-1].argmax()]
            classes.add(label)
        assert len(classes) > 1, 'pictures that all look the same to it would show little'
        assert ('torch and timm are blocked' in node.log) == (make is of_timm)
        assert 'libtorch' in maps(os.getpid())
        assert 'libtorch' not in maps(node.process.pid)
        assert 'openvino' in maps(node.process.pid)
        assert node.stop() == 0, node.log


@pytest.mark.parametrize(
    ('make', 'reason'),
    [
        (of_an_entry_point, "no family of classifiers 'ours' is installed"),
        (of_a_module, 'made from a module, checkpoint_files.Shared'),
    ],
)
def test_where_its_code_is_needed_it_is_refused_with_the_reason_and_auto_takes_the_cpu(
    make, reason, tmp_path, monkeypatch, caplog
):
    path = saved(make(monkeypatch), tmp_path)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setattr(registry, 'cuda_devices', lambda: 1)
    with pytest.raises(RuntimeUnavailableError, match=f'{reason}.*; write device cpu$'):
        AnytimeClassifier.from_checkpoint(path, device='cuda')
    with pytest.raises(RuntimeUnavailableError, match=f'{reason}.*; write runtime openvino$'):
        AnytimeClassifier.from_checkpoint(path, 'cpu', runtime='eager')
    with caplog.at_level(logging.WARNING):
        classifier = AnytimeClassifier.from_checkpoint(path)
    assert classifier.runtime.device == 'cpu'
    assert ' is used on cpu, since' in caplog.text
    assert reason in caplog.text
