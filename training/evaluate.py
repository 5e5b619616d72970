"""How good a network's exits are on a split: accuracy, and calibration with and without temperatures.

Pictures go through `impatient_ros.preprocess.Preprocessing` from their files' pixels, as in the running node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from impatient_ros.network import ImpatientNetwork
from impatient_ros.preprocess import Preprocessing
from training.calibrate import calibration_error, fit_temperature
from training.data import Pictures

__all__ = ['Evaluation', 'evaluate']


@dataclass(frozen=True)
class Evaluation:
    """Scores of every exit on one split: logits T x [N, classes], targets [N]."""

    logits: tuple[torch.Tensor, ...]
    target: torch.Tensor

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Share of right answers per exit, 0..1."""
        return tuple(float((z.argmax(1) == self.target).double().mean()) for z in self.logits)

    def temperatures(self) -> tuple[float, ...]:
        """Per exit, fitted on all pictures of the split."""
        return tuple(fit_temperature(z, self.target) for z in self.logits)

    def calibration_errors(self, temperatures: Sequence[float] | None = None) -> tuple[float, ...]:
        """Per exit, on all pictures; without temperatures the scores are taken as they are."""
        temperatures = [1.0] * len(self.logits) if temperatures is None else temperatures
        return tuple(
            calibration_error(z, self.target, t) for z, t in zip(self.logits, temperatures, strict=True)
        )

    def held_out_calibration_errors(self) -> tuple[float, ...]:
        """What temperatures achieve on pictures that they were not fitted on.

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


@torch.inference_mode()
def evaluate(network: ImpatientNetwork, pictures: Pictures, preprocessing: Preprocessing) -> Evaluation:
    """Run every picture through all exits; leaves the network in eval mode."""
    network.eval()
    chunks = (pictures.images[start : start + 64] for start in range(0, len(pictures), 64))
    rows = [network(torch.from_numpy(preprocessing.batch(chunk))) for chunk in chunks]
    return Evaluation(tuple(map(torch.cat, zip(*rows, strict=True))), torch.from_numpy(pictures.targets))
