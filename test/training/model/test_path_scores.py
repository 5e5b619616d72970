"""training.model.path_scores: accuracies and losses over batches of unequal size."""

from __future__ import annotations

import pytest
import torch

from training.model.path_scores import PathScores


def test_the_means_are_those_over_all_pictures_of_all_processes() -> None:
    torch.manual_seed(0)
    scores = PathScores(3, torch.device('cpu'))
    batches = [(torch.randn(3, n, 4), torch.randint(0, 4, (n,))) for n in (7, 2)]
    for logits, target in batches:
        scores.add(list(logits), target)
    accuracies, losses = scores.means(lambda sums: 2 * sums)  # two processes with the same pictures
    logits, target = torch.cat([z for z, _ in batches], 1), torch.cat([y for _, y in batches])
    for accuracy, loss, z in zip(accuracies, losses, logits, strict=True):
        assert accuracy == pytest.approx((z.argmax(1) == target).double().mean().item())
        assert loss == pytest.approx(torch.nn.functional.cross_entropy(z, target).item(), rel=1e-6)
