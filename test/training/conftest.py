"""Generated pictures and a small network that learns them in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

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
