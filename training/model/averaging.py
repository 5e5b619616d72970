"""The running average of a network's weights, which is what is validated and kept.

Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018; here the
older weights count exponentially less. Lightning's callback for it is not used: torch's AveragedModel
behind it looks at a number on the device in every step, for which the processor waits.
"""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ['RunningAverage']


class RunningAverage:
    """Moves the weights of `average`, a copy of `network`, towards it. Made when both are on their device."""

    def __init__(self, network: nn.Module, average: nn.Module) -> None:
        pairs = [
            (mine, theirs.detach())
            for mine, theirs in zip(
                (*average.parameters(), *average.buffers()),
                (*network.parameters(), *network.buffers()),
                strict=True,
            )
        ]
        self._moved = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    def update(self, decay: float) -> None:
        """average <- decay * average + (1 - decay) * network, all tensors at once."""
        mine, theirs = ([pair[side] for pair in self._moved] for side in (0, 1))
        get_ema_multi_avg_fn(decay)(mine, theirs, None)

    def copy_counts(self) -> None:
        """What is not averaged: the numbers of batches that norms have seen."""
        for mine, theirs in self._counts:
            mine.copy_(theirs)
