"""The clothing model, the worked example of joint exits: small, labelled, and as good as it says."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from impatient_ros.checkpoint import Checkpoint, load
from training.data.labelled_pictures import read
from training.scoring.exit_scores import Evaluation, evaluate

ROOT = Path(__file__).parents[1]
MODEL = ROOT / 'models' / 'clothing10.safetensors'
DATA = ROOT.parent / 'shared' / 'data' / 'clothing10.zip'
LABELS = ('dress', 'hat', 'longsleeve', 'outwear', 'pants', 'shirt', 'shoes', 'shorts', 'skirt', 't-shirt')

needs_data = pytest.mark.skipif(not DATA.exists(), reason=f'{DATA.name} is not beside this clone')


@pytest.fixture(scope='module')
def checkpoint() -> Checkpoint:
    return load(MODEL)


@pytest.fixture(scope='module')
def validation(checkpoint: Checkpoint) -> Evaluation:
    threads = torch.get_num_threads()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    try:
        return evaluate(checkpoint.network, read(DATA, 'validation'), checkpoint.preprocessing)
    finally:
        torch.set_num_threads(threads)


def test_the_file_is_small() -> None:
    assert MODEL.stat().st_size < 8_000_000


def test_it_names_the_ten_garments_and_says_how_it_was_made(checkpoint: Checkpoint) -> None:
    assert checkpoint.labels == LABELS
    assert checkpoint.network.classes == len(LABELS)
    assert {'command', 'data', 'seed', 'date'} <= set(checkpoint.provenance)
    assert not any('/root' in str(v) or '/work' in str(v) for v in checkpoint.provenance.values())


def test_it_has_five_exits_with_accuracies_and_temperatures_of_their_own(checkpoint: Checkpoint) -> None:
    assert len(checkpoint.network.exits) == len(checkpoint.accuracies) == len(checkpoint.temperatures) == 5
    assert checkpoint.accuracies[-1] >= 0.6
    assert checkpoint.accuracies[-1] > checkpoint.accuracies[0] > 0.3
    assert all(0.2 < t < 5 for t in checkpoint.temperatures)
    assert len(set(checkpoint.temperatures)) > 1


def test_its_exits_spread_over_the_cost(checkpoint: Checkpoint) -> None:
    costs = checkpoint.network.costs('contract')
    shares = [cost / costs[-1] for cost in costs]
    assert shares == sorted(shares)
    assert shares[0] < 0.35  # a first answer for a third of the work
    assert max(b - a for a, b in pairwise(shares)) < 0.4


@needs_data
def test_the_recorded_accuracies_are_those_on_the_validation_pictures(
    checkpoint: Checkpoint, validation: Evaluation
) -> None:
    # Decoders of another version move single pictures across a decision's edge.
    assert validation.accuracies == pytest.approx(checkpoint.accuracies, abs=0.005)


@needs_data
def test_the_temperatures_make_the_scores_honest(checkpoint: Checkpoint, validation: Evaluation) -> None:
    before = validation.calibration_errors()
    after = validation.calibration_errors(checkpoint.temperatures)
    assert sum(after) < sum(before)
    assert max(after) < 0.1  # 341 pictures in 15 bins: about 0.05 of it is chance
    assert validation.temperatures() == pytest.approx(checkpoint.temperatures, rel=0.05)
