"""training.model.training_module at several resolutions: what is weighted, and what learns from what."""

from __future__ import annotations

import pytest
import torch

from training.model.networks import NetworkOptions
from training.model.optimisation import OptimiserOptions
from training.model.resolutions import resized
from training.model.training_module import ImpatientModule
from training.risk.options import RiskOptions

SIDES = (16, 24, 32)
EXITS = 3


class Trainer:
    """What the module asks of Lightning's trainer."""

    max_epochs = 10
    current_epoch = 0


def module(
    risk: RiskOptions, sides: tuple[int, ...] = SIDES, exits: int = EXITS, head_kind: str = 'own'
) -> ImpatientModule:
    torch.manual_seed(0)
    network = NetworkOptions(
        module='training.model.small_backbones.SmallResNet',
        module_options={'widths': [4, 8]},
        exits=exits,
        head_kind=head_kind,
        resolutions=list(sides),
    )
    made = ImpatientModule(network, risk, OptimiserOptions(averaging=0.0))
    made.prepare(3, (32, 32))
    made._trainer = Trainer()  # type: ignore[assignment]
    made.network.train()
    return made


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(6, 3, 32, 32), torch.tensor([0, 1, 2, 0, 1, 2])


def logits_of(made: ImpatientModule, x: torch.Tensor) -> list[torch.Tensor]:
    """The scores of all paths."""
    return [z for side in SIDES for z in made.network.at(side)(resized(x, side))]


def test_the_risk_is_that_of_all_paths_and_the_largest_teaches() -> None:
    made, (x, target) = module(RiskOptions(distillation=0.5)), batch()
    risk, losses = made.risk_of(x, target)
    logits = logits_of(made, x)
    assert losses.shape == (len(SIDES) * EXITS,)
    teacher = (logits[-1].detach() / 2).softmax(1)
    expected = torch.zeros(())
    for weight, z in zip(made.risk.weights, logits, strict=True):
        own = torch.nn.functional.cross_entropy(z, target)
        taught = 4 * (teacher * (teacher.log() - (z / 2).log_softmax(1))).sum(1).mean()
        expected = expected + weight * (own if z is logits[-1] else 0.5 * own + 0.5 * taught)
    torch.testing.assert_close(risk, expected)


def test_a_resolution_between_stands_for_all_between() -> None:
    made, (x, target) = module(RiskOptions(), (16, 20, 24, 28, 32)), batch()
    weights = made.risk.weights.view(5, EXITS)
    risk, losses = made.risk_of(x, target)
    between = next(
        r
        for r in (1, 2, 3)
        if torch.allclose(risk, (torch.cat([weights[0], 3 * weights[r], weights[4]]) * losses).sum())
    )
    assert 0 < between < 4


def test_the_first_weights_are_those_of_the_dearest_path_that_fits() -> None:
    made = module(RiskOptions(floor=0.0))
    share, costs = made.exit_share, made.exit_costs
    assert share is not None
    assert costs == tuple(c for side in SIDES for c in made.network.at(side).costs())
    order = sorted(range(len(costs)), key=costs.__getitem__)
    support = 1.2 * costs[-1]
    for k, above in zip(order, [*(costs[k] for k in order[1:]), support], strict=True):
        assert share[k + 1] == pytest.approx((above - costs[k]) / support)


def test_with_accuracies_the_weights_are_how_often_the_planner_chooses_a_path() -> None:
    made = module(RiskOptions(floor=0.1))
    accuracies = [0.3, 0.4, 0.5, 0.2, 0.45, 0.6, 0.1, 0.55, 0.7]
    made._choose_by(accuracies)
    share, costs = made.exit_share, made.exit_costs
    assert share is not None
    assert sum(share) == pytest.approx(1)
    chosen = {k for k in range(9) if share[k + 1] > 0}
    dominated = {
        k for k in range(9) for j in range(9) if costs[j] < costs[k] and accuracies[j] >= accuracies[k]
    }
    assert chosen == set(range(9)) - dominated
    assert 6 in dominated  # the first exit at 32 px
    assert made.risk.weights.tolist() == pytest.approx([0.9 * w + 0.1 / 9 for w in share[1:]])


def test_in_equilibrium_heads_get_the_average_over_the_resolutions() -> None:
    made, (x, target) = module(RiskOptions(equilibrium=True)), batch()
    made.risk_of(x, target)[0].backward()
    weights = made.risk.weights.view(len(SIDES), EXITS)
    for t in range(EXITS):
        losses = [
            torch.nn.functional.cross_entropy(made.network.at(side)(resized(x, side))[t], target)
            for side in SIDES
        ]
        parameters = list(made.network.exits[t].parameters())
        loss = sum(w * each for w, each in zip(weights[:, t] / weights[:, t].sum(), losses, strict=True))
        expected = torch.autograd.grad(loss, parameters)  # type: ignore[arg-type]
        for parameter, gradient in zip(parameters, expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)


def test_in_equilibrium_the_final_layer_that_heads_share_gets_the_average_over_the_paths() -> None:
    made, (x, target) = module(RiskOptions(equilibrium=True), head_kind='shared'), batch()
    made.risk_of(x, target)[0].backward()
    weights = made.risk.weights
    losses = [torch.nn.functional.cross_entropy(z, target) for z in logits_of(made, x)]
    final = list(made.network.exits[-1].parameters())
    loss = sum(w * each for w, each in zip(weights / weights.sum(), losses, strict=True))
    for parameter, gradient in zip(final, torch.autograd.grad(loss, final), strict=True):  # type: ignore[arg-type]
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)


def test_in_equilibrium_the_last_stage_gets_the_average_over_the_paths_behind_it() -> None:
    made, (x, target) = module(RiskOptions(equilibrium=True)), batch()
    made.risk_of(x, target)[0].backward()
    last = made.risk.weights.view(len(SIDES), EXITS)[:, -1]
    losses = [
        torch.nn.functional.cross_entropy(made.network.at(side)(resized(x, side))[-1], target)
        for side in SIDES
    ]
    behind = [p for n, p in made.network.named_parameters() if n.startswith(f'exits.{EXITS - 1}')]
    loss = sum(w * each for w, each in zip(last / last.sum(), losses, strict=True))
    for parameter, gradient in zip(behind, torch.autograd.grad(loss, behind), strict=True):  # type: ignore[arg-type]
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)


def test_at_first_only_the_last_exit_learns_at_every_resolution() -> None:
    made, (x, target) = module(RiskOptions(mixed=0.3)), batch()
    risk, losses = made.risk_of(x, target)
    weights = made.risk.weights.view(len(SIDES), EXITS).sum(1)
    torch.testing.assert_close(risk, (weights / weights.sum() * losses.view(-1, EXITS)[:, -1]).sum())


def test_one_exit_at_several_resolutions_is_a_network_too() -> None:
    made, (x, target) = module(RiskOptions(), exits=1), batch()
    risk, losses = made.risk_of(x, target)
    torch.testing.assert_close(risk, (made.risk.weights * losses).sum())


def test_uniform_weights_are_alike_on_all_paths() -> None:
    assert module(RiskOptions('uniform')).risk.weights.tolist() == pytest.approx([1 / 9] * 9)


@pytest.mark.parametrize(
    ('risk', 'message'),
    [
        (RiskOptions('last'), 'method last trains at one size'),
        (RiskOptions('truncated', 2), 'method truncated trains at one size'),
        (RiskOptions(mode='interruptible'), 'write model.risk.mode contract'),
        (RiskOptions(costs=[1.0, 2.0, 3.0]), '3 costs for 3 exits at 3 resolutions'),
    ],
)
def test_what_does_not_go_with_several_resolutions_is_refused(risk: RiskOptions, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module(risk)
