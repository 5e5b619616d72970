import pytest

from gpu import learning


@pytest.fixture
def data(tmp_path):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'cifar10.zip').touch()
    return tmp_path / 'data'


@pytest.fixture(autouse=True)
def run(monkeypatch):
    """A run with a configuration that there is."""
    monkeypatch.setitem(
        learning.RUNS, 'cifar10', learning.LearningRun('config/train/cifar10.yaml', 'cifar10.zip')
    )


def test_what_an_earlier_part_left_is_taken_over_and_nothing_newer_is_lost(tmp_path, data):
    before = tmp_path / 'state' / 'cifar10'
    before.mkdir(parents=True)
    (before / 'last.ckpt').write_text('epoch 3')
    folder = learning.prepare('cifar10', data, tmp_path / 'state', tmp_path / 'out')
    assert folder == tmp_path / 'out' / 'cifar10'
    assert (folder / 'last.ckpt').read_text() == 'epoch 3'
    (folder / 'last.ckpt').write_text('epoch 7')
    learning.prepare('cifar10', data, tmp_path / 'state', tmp_path / 'out')
    assert (folder / 'last.ckpt').read_text() == 'epoch 7'


def test_only_what_is_left_is_done(tmp_path, data):
    folder = learning.prepare('cifar10', data, tmp_path / 'state', tmp_path / 'out')
    assert [each[1] for each in learning.commands('cifar10', data, folder)] == [
        'training.train', 'training.evaluate',
    ]  # fmt: skip
    (folder / 'model.safetensors').touch()
    assert [each[1] for each in learning.commands('cifar10', data, folder)] == ['training.evaluate']
    (folder / 'evaluation.json').touch()
    assert learning.commands('cifar10', data, folder) == []


def test_missing_pictures_and_configurations_are_named(tmp_path, data, monkeypatch):
    (data / 'cifar10.zip').unlink()
    with pytest.raises(ValueError, match=r'cifar10\.zip is missing.*--data'):
        learning.prepare('cifar10', data, tmp_path, tmp_path)
    monkeypatch.setitem(learning.RUNS, 'cifar10', learning.LearningRun('config/none.yaml', 'cifar10.zip'))
    with pytest.raises(ValueError, match=r'config/none\.yaml is missing'):
        learning.prepare('cifar10', data, tmp_path, tmp_path)


def test_progress_names_the_last_epoch(tmp_path):
    assert learning.progress(tmp_path) == '0 epochs; nothing yet; not finished'
    (tmp_path / 'curve.csv').write_text('epoch,accuracy_1\n1,0.5\n2,0.75\n')
    (tmp_path / 'model.safetensors').touch()
    assert learning.progress(tmp_path) == '2 epochs; epoch 2, accuracy_1 0.75; model.safetensors'
