"""Budget-weighted gradient equilibrium: a stage's gradient is an average over exits, weighted by budgets.

Without it stage t receives the sum of the weighted gradients of all later exits, so early stages see
gradients several times as large as late ones. Here, with W_t = sum of w'_s over s >= t, the gradient into the
output of stage t is the average

    (w'_t / W_t) g_head_t + (W_{t+1} / W_t) g_from_stage_{t+1},

and head parameters get their own unscaled gradient. A layer that several exits share, such as the network's
final one, gets the average of their gradients, weighted by the w' of these exits. The losses must then be
added without weights.

Source of the unweighted form: Li, Zhang, Qi, Yang, Huang, "Improved Techniques for Training Adaptive Deep
Networks", ICCV 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from impatient_ros.network import ImpatientNetwork

__all__ = ['forward', 'shares']


def shares(weights: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Per exit (w'_t / W_t, W_{t+1} / W_t); the sum of each pair is 1, or 0 where nothing is left."""
    left = [sum(weights[t:]) for t in range(len(weights) + 1)]
    return tuple(
        (w / left[t], left[t + 1] / left[t]) if left[t] > 0 else (0.0, 0.0) for t, w in enumerate(weights)
    )


def forward(network: ImpatientNetwork, x: torch.Tensor, weights: Sequence[float]) -> list[torch.Tensor]:
    """The logits of every exit, T x [N, classes], whose gradients mix as above."""
    logits = []
    shared = _shared(network, weights)
    for t, (stage, head, (own, later)) in enumerate(
        zip(network.stages, network.exits, shares(weights), strict=True)
    ):
        x = stage(x)
        parts = {name: _Scaled.apply(parameter, share) for name, parameter, share in shared[t]}
        logits.append(functional_call(head, parts, (_Scaled.apply(x, own),)))
        x = _Scaled.apply(x, later)
    return logits


def _shared(
    network: ImpatientNetwork, weights: Sequence[float]
) -> list[list[tuple[str, nn.Parameter, float]]]:
    """Per exit the parameters that others have, too: name, parameter, the exit's share of its gradient."""
    named = [dict(head.named_parameters()) for head in network.exits]
    owners: dict[nn.Parameter, list[int]] = {}
    for t, parameters in enumerate(named):
        for parameter in parameters.values():
            owners.setdefault(parameter, []).append(t)

    def share(t: int, exits: Sequence[int]) -> float:
        whole = sum(weights[s] for s in exits)
        return weights[t] / whole if whole > 0 else 1 / len(exits)

    return [
        [(name, p, share(t, owners[p])) for name, p in parameters.items() if len(owners[p]) > 1]
        for t, parameters in enumerate(named)
    ]


class _Scaled(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a constant."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.factor * gradients[0], None
