"""training.risk.class_weights: how much a picture of each class counts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from training.model.path_scores import PathScores
from training.risk.class_weights import balanced
from training.risk.objective import JointRisk


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=20))
def test_all_classes_count_alike_and_the_mean_picture_counts_one(counts: list[int]) -> None:
    shares = [weight * count for weight, count in zip(balanced(counts), counts, strict=True)]
    assert shares == pytest.approx([sum(counts) / len(counts)] * len(counts))


def test_a_class_without_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match=r'a class without pictures cannot be weighed: \[3, 0\]'):
        balanced([3, 0])


def test_the_risk_and_the_validation_loss_weigh_pictures_by_their_classes() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(8, 2), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    weights = balanced([6, 2])
    each = functional.cross_entropy(logits, target, reduction='none')
    expected = (each * torch.tensor(weights)[target]).mean()
    risk = JointRisk([1.0], class_weights=weights)
    assert risk.losses([logits], functional.one_hot(target, 2).float())[0] == pytest.approx(expected.item())
    assert 'class_weights' not in risk.state_dict()
    scores = PathScores(1, torch.device('cpu'), weights)
    scores.add([logits], target)
    accuracies, losses = scores.means(lambda sums: sums)
    assert losses[0] == pytest.approx(expected.item())
    assert accuracies[0] == pytest.approx((logits.argmax(1) == target).double().mean().item())
