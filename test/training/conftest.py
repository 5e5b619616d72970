"""Generated pictures and a small network that learns them in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from plain_pictures import jpeg

from training import smoke


@pytest.fixture(scope='session')
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs, rings and squares: 24 of each to train on, 10 to validate."""
    folder = tmp_path_factory.mktemp('shapes')
    smoke.write(folder, {'train': 24, 'validation': 10})
    return folder


@pytest.fixture
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two splits of two classes: hats are red, shoes are blue."""
    root = tmp_path / 'pictures'
    for split, count in (('train', 6), ('validation', 2)):
        for label, colour in (('shoes', (0, 0, 250)), ('hat', (250, 0, 0))):
            (root / split / label).mkdir(parents=True)
            for index in range(count):
                (root / split / label / f'{index}.jpg').write_bytes(jpeg(colour))
    return root
