"""Right answers and losses of every path on the validation pictures, summed up on their device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

__all__ = ['PathScores']


class PathScores:
    """Of `paths` paths; nothing is read from the device before `means`.

    In the losses a picture counts as its class does in `class_weights`; in accuracies all count alike.
    """

    def __init__(
        self, paths: int, device: torch.device, class_weights: Sequence[float] | None = None
    ) -> None:
        self._weights = None if class_weights is None else torch.tensor(class_weights, device=device)
        # Per path right answers and summed loss; in the last column how many pictures.
        self._sums = torch.zeros(2, paths + 1, device=device, dtype=torch.double)

    def add(self, logits: Sequence[torch.Tensor], target: torch.Tensor) -> None:
        """A batch: logits of all paths, each [N, classes], and class indices [N]."""
        scores = torch.stack([each.float() for each in logits], 2)
        targets = target[:, None].expand(-1, len(logits))
        self._sums[0, :-1] += (scores.argmax(1) == targets).sum(0)
        losses = nn.functional.cross_entropy(scores, targets, weight=self._weights, reduction='none')
        self._sums[1, :-1] += losses.sum(0)
        self._sums[:, -1] += len(target)

    def means(
        self, reduced: Callable[[torch.Tensor], torch.Tensor]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Accuracies (0..1) and losses (nats) of all paths; `reduced` adds up over processes."""
        sums = reduced(self._sums)
        accuracies, losses = (sums[:, :-1] / sums[:, -1:]).tolist()
        return tuple(accuracies), tuple(losses)
