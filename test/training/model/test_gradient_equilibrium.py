"""training.model.gradient_equilibrium: how the exits' gradients mix."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
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


def sharing() -> Chain:
    """The first exit ends in the layer that is the last exit."""
    network = Chain()
    network.exits[0] = nn.Sequential(nn.Linear(3, 3).double(), network.exits[2])
    return network


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


@given(st.lists(st.sampled_from([0.0, 0.1, 0.3, 1.0]), min_size=3, max_size=3))
def test_a_layer_that_exits_share_gets_the_budget_weighted_average(weights: list[float]) -> None:
    network, x = sharing(), torch.randn(4, 3, dtype=torch.double)
    shared = network.exits[2].weight
    sum(z.square().sum() for z in forward(network, x, weights)).backward()  # type: ignore[arg-type, union-attr]
    got = shared.grad

    alone = []
    for t in (0, 2):
        after = x
        for stage in network.stages[: t + 1]:
            after = stage(after)
        alone.append(torch.autograd.grad(network.exits[t](after).square().sum(), shared)[0])
    left = weights[0] + weights[2]
    first, last = (weights[0] / left, weights[2] / left) if left else (0.5, 0.5)
    torch.testing.assert_close(got, first * alone[0] + last * alone[1])
    after = network.stages[1](network.stages[0](x))
    [unshared] = torch.autograd.grad(network.exits[1](after).square().sum(), [network.exits[1].weight])
    torch.testing.assert_close(network.exits[1].weight.grad, unshared)
    [before] = torch.autograd.grad(
        network.exits[0](network.stages[0](x)).square().sum(), [network.exits[0][0].weight]
    )
    torch.testing.assert_close(network.exits[0][0].weight.grad, before)  # what is the first exit's alone


def test_what_exits_share_does_not_change_what_stages_get() -> None:
    network, apart = sharing(), sharing()
    apart.load_state_dict(network.state_dict())
    apart.exits[0] = copy.deepcopy(apart.exits[0])
    x = torch.randn(4, 3, dtype=torch.double)
    for each in (network, apart):
        sum(z.square().sum() for z in forward(each, x, (0.2, 0.3, 0.5))).backward()  # type: ignore[arg-type, union-attr]
    for one, other in zip(network.stages.parameters(), apart.stages.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize('make', [Chain, sharing])
def test_the_answers_are_those_of_the_network(make: Callable[[], Chain]) -> None:
    network, x = make(), torch.randn(4, 3, dtype=torch.double)
    after = x
    for stage, head, scores in zip(
        network.stages, network.exits, forward(network, x, (1, 0, 1)), strict=True
    ):  # type: ignore[arg-type]
        after = stage(after)
        assert torch.equal(scores, head(after))
