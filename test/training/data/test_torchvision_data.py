"""training.data.torchvision_data: torchvision's data sets from disk."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision

from training.data.labelled_pictures import DataError, labels_of, read, splits_of

NAMES = ['plane', 'car']


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A CIFAR-10 of two classes in torchvision's own layout; its checksums are not those of the real one."""
    folder = tmp_path / 'cifar-10-batches-py'
    folder.mkdir()
    rng = np.random.default_rng(0)

    def batch(count: int) -> bytes:
        labels = [i % 2 for i in range(count)]
        return pickle.dumps({'data': rng.integers(0, 255, (count, 3072), np.uint8), 'labels': labels})

    for number in range(1, 6):
        (folder / f'data_batch_{number}').write_bytes(batch(4))
    (folder / 'test_batch').write_bytes(batch(6))
    (folder / 'batches.meta').write_bytes(pickle.dumps({'label_names': NAMES}))
    monkeypatch.setattr(torchvision.datasets.CIFAR10, '_check_integrity', lambda self: True)
    monkeypatch.setattr('torchvision.datasets.cifar.check_integrity', lambda *given: True)
    return f'torchvision:CIFAR10:{tmp_path}'


def test_it_reads_as_folders_do(cifar: str) -> None:
    assert labels_of(cifar) == ('plane', 'car')
    assert splits_of(cifar) == ('train', 'test')
    train, test = read(cifar, 'train'), read(cifar, 'test')
    assert (len(train), len(test)) == (20, 6)
    assert train.images[0].shape == (32, 32, 3)
    assert sorted(train.targets.tolist()) == [0] * 10 + [1] * 10


def test_parts_of_it_have_no_picture_in_common(cifar: str) -> None:
    held, rest = (
        read(cifar, 'train', part=lambda n: slice(0, 3)),
        read(cifar, 'train', part=lambda n: slice(3, n)),
    )
    assert (len(held), len(rest)) == (6, 14)
    assert set(held.names) & set(rest.names) == set()


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('torchvision:CIFAR11:x', 'did you mean CIFAR10'),
        ('torchvision:CIFAR10', 'write torchvision:<data set>:<folder>'),
        ('torchvision:CIFAR10:nowhere', 'cannot open'),
        ('torchvision:ImageFolder:nowhere', 'has no splits'),
    ],
)
def test_what_is_not_there_is_said(source: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(source, 'train')


def test_a_split_that_it_does_not_have_is_refused(cifar: str) -> None:
    with pytest.raises(DataError, match="no split 'validation'"):
        read(cifar, 'validation')
