"""training.scoring.scored_checkpoint: whose accuracies choose, and which pictures count."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from impatient_ros.checkpoint import Preprocessing, load, save
from impatient_ros.network import ImpatientNetwork
from training.scoring.exit_scores import Evaluation
from training.scoring.paths import ResolutionScores
from training.scoring.scored_checkpoint import ScoredCheckpoint, evaluation, expected_over_paths

SIDE, PICTURES = 32, 40

pytestmark = pytest.mark.usefixtures('one_thread')


def scored(path: Path, stated: tuple[float, float]) -> ScoredCheckpoint:
    """Two exits: the first is right on the even pictures, the second on the odd ones."""
    torch.manual_seed(0)
    network = ImpatientNetwork.from_torchvision('shufflenet_v2_x0_5', 2, 2, image_size=SIDE)
    save(network, path, labels=('a', 'b'), preprocessing=Preprocessing(SIDE, SIDE), accuracies=stated)
    right = torch.stack([torch.arange(PICTURES) % 2 == t for t in (0, 1)])
    logits = tuple(torch.stack([row.float(), 1 - row.float()], 1) for row in right)
    return ScoredCheckpoint(
        load(path), Evaluation(logits, torch.zeros(PICTURES, dtype=torch.long)), (1.0, 1.01)
    )


def expected(model: ScoredCheckpoint, folder: Path) -> tuple[float, bool, float, bool]:
    """Of the exits and of all paths, where every budget is enough for all."""
    budgets = folder / 'always.yaml'
    budgets.write_text('distribution: empirical\nsamples: [1.0e+15]\n')
    found = evaluation(model, [str(budgets)])
    over = expected_over_paths(model, [ResolutionScores(SIDE, (1, 2), model.scores)], [str(budgets)])
    return (
        found['expected_accuracy'][str(budgets)],
        found['chosen_on_halves'],
        over['expected_accuracy_of_paths'][str(budgets)],
        over['paths_chosen_on_halves'],
    )


def test_accuracies_of_other_pictures_choose_for_all_of_these(tmp_path: Path) -> None:
    assert expected(scored(tmp_path / 'f', (0.7, 0.6)), tmp_path) == (0.5, False, 0.5, False)


def test_accuracies_of_these_pictures_do_not_choose_for_themselves(tmp_path: Path) -> None:
    """What is best on one half of them is wrong on the whole other half."""
    assert expected(scored(tmp_path / 'f', (0.5, 0.5)), tmp_path) == (0.0, True, 0.0, True)
