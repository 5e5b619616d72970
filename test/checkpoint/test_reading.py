"""Reading needs no torch and no code of the network; older files are read and say how to convert them."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoint_files import LABELS, SIZE, Shared, rewrite, shared_network, without_graph, write

from impatient_ros.checkpoint import CheckpointError, Preprocessing, load, read
from impatient_ros.checkpoint.__main__ import main

ROOT = Path(__file__).resolve().parents[2]

# Run by a Python of its own with a checkpoint as argument.
READ_WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'torchvision', 'timm'):
            raise ModuleNotFoundError('blocked: ' + name, name=name)

sys.meta_path.insert(0, NoTorch())
import impatient_ros.checkpoint as checkpoint
file = checkpoint.read(sys.argv[1])
part = file.graph.part(0, ['logits_0'])
print(file.labels[0], file.exits, len(part.graph.node) > 0)
try:
    checkpoint.load
except ImportError as error:
    print(error)
"""


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return shared_network().eval()


@pytest.fixture(scope='module')
def written(network, tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'model.safetensors'
    write(network, path, accuracies=[0.5, 0.7, 0.65], temperatures=[1.5, 1.0, 0.8], provenance={'seed': 1})
    return path


def test_a_python_without_torch_reads_a_checkpoint():
    command = [sys.executable, '-c', READ_WITHOUT_TORCH, 'models/clothing10.safetensors']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == 'dress 5 True'
    assert 'save and load need torch' in done.stdout


def test_all_but_the_network_is_read(network, written):
    file = read(written)
    assert file.labels == LABELS
    assert file.preprocessing == Preprocessing(SIZE, 36)
    assert (file.accuracies, file.accuracies_measured) == ((0.5, 0.7, 0.65), True)
    assert file.temperatures == (1.5, 1.0, 0.8)
    assert file.provenance == {'seed': 1}
    assert file.config == network.config
    assert (file.exits, file.input_shape) == (3, (3, SIZE, SIZE))
    assert file.graph.input_shape == file.input_shape
    assert file.digest == load(written, module=Shared()).digest


def test_a_network_of_an_unknown_family_is_read_and_not_rebuilt(written, tmp_path):
    def elsewhere(description, metadata, tensors):
        description['network']['backbone'] = {'source': 'acme', 'name': 'net', 'options': {}}

    path = rewrite(written, tmp_path / 'elsewhere', elsewhere)
    assert read(path).graph.exits == 3
    with pytest.raises(CheckpointError, match='its network cannot be built'):
        load(path)
    assert load(path, module=Shared()).graph.exits == 3


def test_a_file_of_the_first_version_is_read_and_says_how_to_convert_it(network, written, tmp_path, caplog):
    old = without_graph(written, tmp_path / 'old')
    with caplog.at_level(logging.WARNING):
        assert read(old).graph is None
    (record,) = caplog.records
    assert 'python -m impatient_ros.checkpoint convert' in record.getMessage()
    assert '\n' not in record.getMessage()
    x = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        answers = load(old, module=Shared()).network(x)
        assert all(torch.equal(a, b) for a, b in zip(answers, network(x), strict=True))


def test_an_old_file_is_converted(tmp_path, capsys):
    old = without_graph(ROOT / 'models' / 'clothing10.safetensors', tmp_path / 'old')
    assert main(['convert', str(old), str(tmp_path / 'new')]) == 0
    shipped, new = read(ROOT / 'models' / 'clothing10.safetensors'), read(tmp_path / 'new')
    assert new.graph.weights.keys() == shipped.graph.weights.keys()
    for name in ('labels', 'preprocessing', 'accuracies', 'temperatures', 'provenance', 'config'):
        assert getattr(new, name) == getattr(shipped, name)


def test_what_cannot_be_converted_is_said_in_one_line(written, tmp_path, capsys):
    assert main(['convert', str(written), str(tmp_path / 'new')]) == 1
    assert 'made from a module' in capsys.readouterr().err
    assert main(['convert', str(tmp_path / 'gone'), str(tmp_path / 'new')]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / 'new').exists()
