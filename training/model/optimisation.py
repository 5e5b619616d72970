"""The optimiser of a training, and the schedule of its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from impatient_ros.network import ImpatientNetwork
from impatient_ros.network.private_tensors import private_of_exits

__all__ = ['OptimiserOptions', 'check_optimiser', 'optimiser_and_schedule']


MOMENTUM = 0.9  # of SGD with Nesterov's momentum, as residual networks are usually trained
KINDS = ('adamw', 'sgd')
LEAST = 1e-4  # what is left of the learning rate in the end


@dataclass(frozen=True)
class OptimiserOptions:
    """An optimiser, whose learning rate warms up and falls along a cosine, and the average of its weights.

    Attributes:
        kind: adamw, or sgd with Nesterov's momentum, which wants about 100 times the learning rate and 1/100
            of the weight decay.
        head_rate: learning rate of the heads, the last classifier included, in parts of `learning_rate`.
        warm_up: share of the steps.
        averaging: decay of the weights' running average per step; 0 is off.
    """

    kind: str = 'adamw'
    learning_rate: float = 2e-3
    head_rate: float = 1.0
    weight_decay: float = 0.05
    warm_up: float = 0.1
    averaging: float = 0.996


def check_optimiser(options: OptimiserOptions) -> None:
    """Raises ValueError."""
    if not 0 <= options.averaging < 1:
        raise ValueError(f'model.optimiser.averaging is {options.averaging}: write a decay below 1, or 0')
    if options.kind not in KINDS:
        raise ValueError(f'model.optimiser.kind is {options.kind!r}: write one of {", ".join(KINDS)}')
    for name in ('learning_rate', 'head_rate'):
        if not getattr(options, name) > 0:
            raise ValueError(f'model.optimiser.{name} is {getattr(options, name)}: write a number above 0')


def optimiser_and_schedule(
    network: ImpatientNetwork, options: OptimiserOptions, steps: int
) -> dict[str, Any]:
    """The optimiser of what of `network` learns, as Lightning takes it; biases and norms do not decay.

    The learning rate warms up and falls once, over so many `steps`.
    """
    groups = []
    heads = {id(p) for p in (*network.exits.parameters(), *private_of_exits(network, len(network.exits)))}
    learning = [p for p in network.parameters() if p.requires_grad]
    for of_heads in (False, True):
        for matrices in (True, False):
            group = [p for p in learning if (p.ndim > 1) == matrices and (id(p) in heads) == of_heads]
            if group:
                own = options.learning_rate * (options.head_rate if of_heads else 1.0)
                decay = options.weight_decay if matrices else 0.0
                groups.append({'params': group, 'lr': own, 'weight_decay': decay})
    # Not fused, also on a GPU: Lightning does not clip the gradients of fused optimisers.
    optimiser: torch.optim.Optimizer = (
        torch.optim.AdamW(groups)
        if options.kind == 'adamw'
        else torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)
    )
    warm_up = max(1, round(options.warm_up * steps))

    def rate(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        done = (step - warm_up) / max(1, steps - warm_up)
        return max(LEAST, 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    # Not torch's chain of LinearLR and CosineAnnealingLR: its saved state holds the number of steps, and with
    # more of them in a resumed training the rate would rise again.
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    return {'optimizer': optimiser, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}
