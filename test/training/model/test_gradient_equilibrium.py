"""training.model.gradient_equilibrium: how the exits' gradients mix."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from training.model.gradient_equilibrium import forward, shares


class Chain(nn.Module):
    """Stages and exits without anything around them."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Linear(3, 3).double() for _ in range(3))
        self.exits = nn.ModuleList(nn.Linear(3, 2).double() for _ in range(3))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_what_a_stage_gets_is_an_average(weights: list[float]) -> None:
    for t, (own, later) in enumerate(shares(weights)):
        assert own >= 0
        assert later >= 0
        expected = 1.0 if sum(weights[t:]) > 0 else 0.0
        assert abs(own + later - expected) < 1e-9
    assert shares(weights)[-1][1] == 0


def test_the_gradient_into_a_stages_output_is_the_budget_weighted_average() -> None:
    torch.manual_seed(0)
    network, x, w = Chain(), torch.randn(4, 3, dtype=torch.double), (0.2, 0.3, 0.5)
    losses = [z.square().sum() for z in forward(network, x, w)]  # type: ignore[arg-type]
    sum(losses).backward()  # type: ignore[union-attr]

    # By hand, from the last stage back: g[t] is the gradient into the output of stage t.
    outputs = []
    for stage in network.stages:
        x = stage(x.detach() if not outputs else outputs[-1]).detach().requires_grad_()
        outputs.append(x)
    heads = [
        torch.autograd.grad(head(out).square().sum(), out)[0]
        for head, out in zip(network.exits, outputs, strict=True)
    ]
    g3 = heads[2]
    g2 = 0.3 / 0.8 * heads[1] + 0.5 / 0.8 * (g3 @ network.stages[2].weight)
    g1 = 0.2 * heads[0] + 0.8 * (g2 @ network.stages[1].weight)
    torch.testing.assert_close(network.stages[2].bias.grad, g3.sum(0))
    torch.testing.assert_close(network.stages[1].bias.grad, g2.sum(0))
    torch.testing.assert_close(network.stages[0].bias.grad, g1.sum(0))
    head = torch.autograd.grad(network.exits[0](outputs[0]).square().sum(), network.exits[0].bias)[0]
    torch.testing.assert_close(network.exits[0].bias.grad, head)  # its own, unscaled


def test_the_answers_are_those_of_the_network() -> None:
    network, x = Chain(), torch.randn(4, 3, dtype=torch.double)
    after = x
    for stage, head, scores in zip(
        network.stages, network.exits, forward(network, x, (1, 0, 1)), strict=True
    ):  # type: ignore[arg-type]
        after = stage(after)
        assert torch.equal(scores, head(after))
