"""training.risk.objective: the weighted joint risk."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from impatient_ros.budgets import Uniform, exit_weights
from training.risk.objective import JointRisk, floored, teaching

EXIT_WEIGHTS = st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda w: sum(w) > 1e-3)


@given(EXIT_WEIGHTS, st.floats(0, 1))
def test_every_exit_gets_at_least_its_part_of_the_floor(raw: list[float], floor: float) -> None:
    weights = [w / sum(raw) for w in raw]
    result = floored(weights, floor)
    exits = len(weights) - 1
    assert len(result) == exits
    assert min(result) >= floor / exits - 1e-12
    assert sum(result) == pytest.approx((1 - floor) * (1 - weights[0]) + floor)


def test_without_a_floor_the_weights_are_those_of_the_budgets() -> None:
    weights = exit_weights(Uniform(0, 12), (2, 5, 10))
    assert floored(weights, 0.0) == pytest.approx((3 / 12, 5 / 12, 2 / 12))
    assert floored(weights) == pytest.approx(tuple(0.95 * w / 12 + 0.05 / 3 for w in (3, 5, 2)))


@pytest.mark.parametrize('weights', [(), (1.0,), (0.5, 0.6), (-0.1, 1.1), (math.nan, 1.0)])
def test_what_are_no_exit_weights_is_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match='exit weight'):
        floored(weights)


@pytest.mark.parametrize('floor', [-0.1, 1.1, math.nan])
def test_a_floor_outside_0_to_1_is_refused(floor: float) -> None:
    with pytest.raises(ValueError, match='between 0 and 1'):
        floored((0.5, 0.5), floor)


@given(EXIT_WEIGHTS, st.floats(0, 1))
def test_the_last_exit_gets_what_the_others_learn_from_it(weights: list[float], distillation: float) -> None:
    *earlier, last = teaching(weights, distillation)
    assert earlier == weights[:-1]
    assert last == pytest.approx(weights[-1] + distillation * sum(weights[:-1]))


def test_without_distillation_nobody_teaches() -> None:
    assert teaching((0.5, 0.3, 0.2), 0.0) == (0.5, 0.3, 0.2)


def test_the_risk_is_the_weighted_sum_of_the_exits_losses() -> None:
    torch.manual_seed(0)
    logits = [torch.randn(6, 4) for _ in range(3)]
    target = torch.randint(0, 4, (6,))
    risk, losses = JointRisk((0.2, 0.3, 0.4))(logits, target)
    expected = [functional.cross_entropy(z, target).item() for z in logits]
    assert losses.tolist() == pytest.approx(expected)
    assert risk.item() == pytest.approx(0.2 * expected[0] + 0.3 * expected[1] + 0.4 * expected[2])


def test_an_exit_without_mass_and_floor_gets_no_gradient_and_with_a_floor_some() -> None:
    target = torch.tensor([0, 1])
    for floor, learns in ((0.0, False), (0.05, True)):
        logits = [torch.zeros(2, 2, requires_grad=True) for _ in range(2)]
        JointRisk(floored((0.0, 1.0, 0.0), floor))(logits, target)[0].backward()
        assert logits[0].grad is not None
        assert logits[0].grad.abs().sum() > 0
        assert logits[1].grad is not None
        assert bool(logits[1].grad.abs().sum() > 0) is learns


def test_targets_may_be_probabilities() -> None:
    logits = [torch.randn(5, 3)]
    target = torch.randint(0, 3, (5,))
    risk = JointRisk((1.0,))
    hard, _ = risk(logits, target)
    soft, _ = risk(logits, functional.one_hot(target, 3).float())
    torch.testing.assert_close(hard, soft)


def test_a_loss_that_is_not_finite_names_the_exit() -> None:
    logits = [torch.zeros(2, 3), torch.full((2, 3), math.nan)]
    with pytest.raises(FloatingPointError, match='exit 2 of 2 is nan'):
        JointRisk((0.4, 0.4))(logits, torch.tensor([0, 1]))


def test_another_number_of_exits_is_refused() -> None:
    with pytest.raises(ValueError, match='1 exits, but 2 exit weights'):
        JointRisk((0.4, 0.4))([torch.zeros(2, 3)], torch.tensor([0, 1]))


def test_distillation_mixes_the_last_exits_answers_into_earlier_losses() -> None:
    torch.manual_seed(0)
    logits = [torch.randn(6, 4, requires_grad=True) for _ in range(2)]
    target = torch.randint(0, 4, (6,))
    losses = JointRisk((0.5, 0.5), distillation=0.3, temperature=2.0).losses(logits, target)
    plain = [functional.cross_entropy(z, target) for z in logits]
    student, teacher = ((z.detach() / 2).softmax(1) for z in logits)
    divergence = (teacher * (teacher / student).log()).sum(1).mean()
    assert losses[0].item() == pytest.approx((0.7 * plain[0] + 0.3 * 4 * divergence).item(), rel=1e-5)
    assert losses[1].item() == pytest.approx(plain[1].item())
    losses[0].backward()
    assert logits[1].grad is None or not logits[1].grad.any()  # the teacher does not learn from its pupils


@pytest.mark.parametrize('options', [{'distillation': 1.5}, {'temperature': 0.0}])
def test_distillation_that_makes_no_sense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match='distillation'):
        JointRisk((0.5, 0.5), **options)


def test_losses_of_half_precision_scores_are_in_single_precision() -> None:
    losses = JointRisk((1.0,)).losses([torch.zeros(2, 3, dtype=torch.bfloat16)], torch.tensor([0, 1]))
    assert losses.dtype == torch.float32


def test_heads_that_share_the_final_layer_learn_what_the_network_gives_to_it() -> None:
    torch.manual_seed(0)
    logits = [torch.randn(5, 3) for _ in range(3)]
    taught = torch.randn(5, 8, requires_grad=True)
    own = torch.randn(5, 8, requires_grad=True)
    plain = JointRisk((0.2, 0.3, 0.5), temperature=1.0).losses(logits, None)
    risk = JointRisk((0.2, 0.3, 0.5), temperature=1.0, feature_weight=2.0)
    losses = risk.losses(logits, None, features=[own, None, taught])
    far = (1 - functional.cosine_similarity(own, taught)).mean().item()
    assert (losses - plain).tolist() == pytest.approx([2 * far, 0, 0], abs=1e-6)
    losses.sum().backward()
    assert own.grad is not None
    assert taught.grad is None, 'the network itself learns nothing from its heads'
    assert risk.losses(logits, None, features=[None] * 3).tolist() == pytest.approx(plain.tolist())


@pytest.mark.parametrize('weight', [-1.0, math.nan])
def test_a_weight_of_features_below_0_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match='weight of features'):
        JointRisk((0.5, 0.5), feature_weight=weight)
