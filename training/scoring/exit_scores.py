"""How good a network's exits are on a split: accuracy, calibration, and how often a deeper exit is worse.

Pictures go through `impatient_ros.checkpoint.Preprocessing` from their files' pixels, as in the running node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network import ImpatientNetwork
from training.data.labelled_pictures import Pictures
from training.scoring.calibration import calibration_error, fit_temperature

__all__ = ['Evaluation', 'evaluate']

# The fall of the true class's probability from one exit to the next that counts. The target in
# training/README.md, at most 5% of the pictures, is about falls of this size.
FALL = 0.2
BATCH = 64  # pictures at a time: bounds the memory, does not change the result


@dataclass(frozen=True)
class Evaluation:
    """Scores of every exit on one split: logits T x [N, classes], targets [N]."""

    logits: tuple[torch.Tensor, ...]
    target: torch.Tensor

    @property
    def right(self) -> torch.Tensor:
        """Which answers are right, bool [T, N]."""
        return torch.stack([z.argmax(1) == self.target for z in self.logits])

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Share of right answers per exit, 0..1."""
        return tuple(self.right.double().mean(1).tolist())

    def class_accuracies(self) -> list[list[float | None]]:
        """Per exit and class; None where the split has no picture of a class."""
        classes = self.logits[0].shape[1]
        members = [self.target == c for c in range(classes)]
        return [[float(row[m].double().mean()) if m.any() else None for m in members] for row in self.right]

    def probabilities(self, temperatures: Sequence[float] | None = None) -> torch.Tensor:
        """Per exit and picture, [T, N, classes]; without temperatures the scores are taken as they are."""
        temperatures = [1.0] * len(self.logits) if temperatures is None else temperatures
        return torch.stack(
            [(z.double() / t).softmax(1) for z, t in zip(self.logits, temperatures, strict=True)]
        )

    def temperatures(self, soft: torch.Tensor | None = None) -> tuple[float, ...]:
        """Per exit, fitted on all pictures of the split: to the targets, or to probabilities [N, classes]."""
        return tuple(fit_temperature(z, self.target if soft is None else soft) for z in self.logits)

    def calibration_errors(self, temperatures: Sequence[float] | None = None) -> tuple[float, ...]:
        """Per exit, on all pictures; without temperatures the scores are taken as they are."""
        temperatures = [1.0] * len(self.logits) if temperatures is None else temperatures
        return tuple(
            calibration_error(z, self.target, t) for z, t in zip(self.logits, temperatures, strict=True)
        )

    def negative_log_likelihoods(self, temperatures: Sequence[float] | None = None) -> tuple[float, ...]:
        """Per exit, the mean over all pictures, in nats."""
        temperatures = [1.0] * len(self.logits) if temperatures is None else temperatures
        return tuple(
            float(functional.cross_entropy(z.double() / t, self.target))
            for z, t in zip(self.logits, temperatures, strict=True)
        )

    def held_out_calibration_errors(self) -> tuple[float, ...]:
        """Calibration error of each exit on pictures that its temperature was not fitted on.

        Each half of the split (every second picture: the split is sorted by class) is scored with the
        temperature of the other half, and both together give one error per exit.
        """
        errors = []
        for z in self.logits:
            scaled = z.double().clone()
            for half in (0, 1):
                scaled[half::2] /= fit_temperature(z[1 - half :: 2], self.target[1 - half :: 2])
            errors.append(calibration_error(scaled, self.target))
        return tuple(errors)

    def monotonicity(self, temperatures: Sequence[float] | None = None) -> dict[str, float]:
        """How often a deeper exit is worse, as shares of the pictures.

        `falls`: the true class's probability falls by 0.2 or more from some exit to the next. `flips`: some
        exit is right and the next one wrong.
        """
        if len(self.logits) < 2:
            return {'falls': 0.0, 'flips': 0.0}
        true = self.probabilities(temperatures)[:, torch.arange(len(self.target)), self.target]
        falls = (true[:-1] - true[1:] >= FALL).any(0)
        flips = (self.right[:-1] & ~self.right[1:]).any(0)
        return {'falls': float(falls.double().mean()), 'flips': float(flips.double().mean())}


@torch.inference_mode()
def evaluate(network: ImpatientNetwork, pictures: Pictures, preprocessing: Preprocessing) -> Evaluation:
    """Run every picture through all exits, on the network's device; leaves the network in eval mode."""
    network.eval()
    device = next(network.parameters()).device
    rows = []
    for start in range(0, len(pictures), BATCH):
        chunk = range(start, min(start + BATCH, len(pictures)))
        x = torch.from_numpy(preprocessing.batch(pictures.load(chunk)))
        logits = network(x.to(device).contiguous(memory_format=torch.channels_last))
        rows.append([each.cpu() for each in logits])
    return Evaluation(tuple(map(torch.cat, zip(*rows, strict=True))), torch.from_numpy(pictures.targets))
