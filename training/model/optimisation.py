"""The optimiser of a training, and the schedule of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = ['OptimiserOptions', 'optimiser_and_schedule']


@dataclass(frozen=True)
class OptimiserOptions:
    """AdamW, whose learning rate warms up and then falls along a cosine, and the average of its weights."""

    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: float = 0.1  # share of the steps
    averaging: float = 0.996  # decay of the weights' running average per step; 0 is off


def optimiser_and_schedule(network: nn.Module, options: OptimiserOptions, steps: int) -> dict[str, Any]:
    """AdamW for what of `network` learns, without weight decay for biases and norms, as Lightning takes it.

    The learning rate warms up and falls once, over so many `steps`.
    """
    learning = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {'params': _of(learning, matrices=True), 'weight_decay': options.weight_decay},
        {'params': _of(learning, matrices=False), 'weight_decay': 0.0},
    ]
    optimiser = torch.optim.AdamW([g for g in groups if g['params']], lr=options.learning_rate)
    warm_up = max(1, round(options.warm_up * steps))

    def rate(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        done = (step - warm_up) / max(1, steps - warm_up)
        return max(1e-4, 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    return {'optimizer': optimiser, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}


def _of(parameters: Iterable[nn.Parameter], *, matrices: bool) -> list[nn.Parameter]:
    return [p for p in parameters if (p.ndim > 1) == matrices]
