"""The joint training risk: the loss of every exit, weighted by how often budgets will end there.

    R = sum_t w'_t loss_t,    w'_t = (1 - eps) w_t + eps / T

with w_t = P(c_t <= b < c_{t+1}) from `impatient_ros.budgets.exit_weights`. The floor eps keeps exits learning
that no budget reaches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

__all__ = ['JointRisk', 'floored']

FLOOR = 0.05


def floored(weights: Sequence[float], floor: float = FLOOR) -> tuple[float, ...]:
    """w' [T] from exit weights [T + 1] as `exit_weights` gives them; the first, "no answer", trains nothing.

    ValueError where the weights are no probabilities or the floor is outside 0..1.
    """
    if not 0 <= floor <= 1:
        raise ValueError(f'the floor is {floor!r}; write a share between 0 and 1')
    if len(weights) < 2:
        raise ValueError(f'{len(weights)} exit weight(s); write one for "no answer" and one per exit')
    if not all(math.isfinite(w) and w >= 0 for w in weights) or abs(sum(weights) - 1) > 1e-6:
        raise ValueError(f'exit weights {tuple(weights)} are no probabilities that sum to 1')
    exits = len(weights) - 1
    return tuple((1 - floor) * float(w) + floor / exits for w in weights[1:])


class JointRisk(nn.Module):
    """Cross-entropy at every exit and their weighted sum."""

    weights: torch.Tensor

    def __init__(
        self, weights: Sequence[float], *, floor: float = FLOOR, label_smoothing: float = 0.0
    ) -> None:
        """`weights` [T + 1] as `exit_weights` returns them."""
        super().__init__()
        self.register_buffer('weights', torch.tensor(floored(weights, floor)))
        self.label_smoothing = label_smoothing

    def forward(
        self, logits: Sequence[torch.Tensor], target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The risk (scalar) and the exits' losses [T], the latter detached.

        logits: T tensors [N, classes]; target: class indices [N] or probabilities [N, classes]. ValueError
        for another number of exits, FloatingPointError naming the exit whose loss is not finite.
        """
        if len(logits) != len(self.weights):
            raise ValueError(f'{len(logits)} exits, but {len(self.weights)} exit weights')
        losses = torch.stack(
            [functional.cross_entropy(z, target, label_smoothing=self.label_smoothing) for z in logits]
        )
        finite = torch.isfinite(losses)
        if not finite.all():
            worst = int((~finite).nonzero()[0])
            raise FloatingPointError(
                f'the loss of exit {worst + 1} of {len(losses)} is {losses[worst].item()}; '
                'lower the learning rate or look for broken pictures'
            )
        return (self.weights * losses).sum(), losses.detach()
