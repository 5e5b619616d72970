"""training.scoring.calibration: temperature and calibration error."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_calibration_error

from training.scoring.calibration import calibration_error, fit_temperature


def drawn(count: int, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose softmax is the distribution that their targets are drawn from, then times `scale`."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, 5, generator=generator)
    target = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return scale * logits, target


@settings(deadline=None, max_examples=20)
@given(st.floats(0.2, 5))
def test_the_temperature_undoes_a_scaling_of_calibrated_scores(scale: float) -> None:
    assert fit_temperature(*drawn(4000, scale)) == pytest.approx(scale, rel=0.06)


def test_the_temperature_is_where_the_nll_is_lowest() -> None:
    logits, target = drawn(200, 3.0)
    best = fit_temperature(logits, target)
    nll = [functional.cross_entropy(logits / (best * f), target).item() for f in (0.98, 1.0, 1.02)]
    assert nll[1] < nll[0]
    assert nll[1] < nll[2]


def test_scores_without_any_mistake_still_give_a_finite_temperature() -> None:
    assert 0.04 < fit_temperature(10 * torch.eye(4), torch.arange(4)) < 0.06


def test_no_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match='held-out'):
        fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))


def test_calibrated_scores_have_a_small_error_and_sharpened_ones_a_large_one() -> None:
    logits, target = drawn(20000)
    assert calibration_error(logits, target) < 0.02
    assert calibration_error(5 * logits, target) > 0.1
    assert calibration_error(5 * logits, target, temperature=5.0) < 0.02


@pytest.mark.parametrize('classes', [2, 10, 300])
def test_the_error_is_that_of_torchmetrics(classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    logits = 2 * torch.randn(500, classes, generator=generator)
    target = torch.randint(0, classes, (500,), generator=generator)
    theirs = multiclass_calibration_error(logits.double().softmax(1), target, classes, n_bins=15)
    assert calibration_error(logits, target) == pytest.approx(float(theirs), abs=1e-6)


def test_the_error_of_certain_answers_is_the_share_that_is_wrong() -> None:
    logits = 100 * functional.one_hot(torch.tensor([0, 0, 0, 0]), 3).float()
    assert calibration_error(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(0.25)


def test_too_much_confidence_in_one_bin_does_not_make_up_for_too_little_in_another() -> None:
    sure = torch.log(torch.tensor([[0.9, 0.1]])).repeat(10, 1)  # right 5 times of 10
    unsure = torch.log(torch.tensor([[0.6, 0.4]])).repeat(10, 1)  # right 10 times of 10
    target = torch.tensor([0, 1] * 5 + [0] * 10)
    assert calibration_error(torch.cat([sure, unsure]), target) == pytest.approx((0.4 + 0.4) / 2)
