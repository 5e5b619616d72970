"""Learning from the full path's answers: whose they are, and who computes what does not learn."""

from __future__ import annotations

import copy

import torch

from impatient_ros.network import ImpatientNetwork
from training.model.frozen_features import FrozenFeatures
from training.model.resolutions import resized
from training.risk.options import RiskOptions

__all__ = ['WithoutLabels']


class WithoutLabels:
    """Follows from the network as it was given, also where a training resumes: no part of its state.

    Attributes:
        features_of: gives what the stages but the last one do; None: the network itself.
    """

    def __init__(self, network: ImpatientNetwork, options: RiskOptions, resolutions: int) -> None:
        learns = options.train_backbone
        self._teacher = copy.deepcopy(network).requires_grad_(False).eval() if learns else None
        # Whose features may come from elsewhere.
        several = len(network.exits) > 1
        alone = resolutions == 1 and several and not (learns or options.equilibrium)
        self._alone = network if alone else None
        self.features_of: FrozenFeatures | None = None

    def begin(self, device: torch.device, precision: str) -> None:
        """The training begins on that device, in Lightning's `precision`."""
        if self._alone is not None and device.type == 'cpu':
            self.features_of = FrozenFeatures(self._alone, bf16=precision.startswith('bf16'))

    def teacher(self, device: torch.device) -> ImpatientNetwork | None:
        """The network as it was given, where its full path learns, too."""
        return None if self._teacher is None else self._teacher.to(device)

    @torch.no_grad()
    def answers(self, x: torch.Tensor) -> torch.Tensor | None:
        """Of the teacher's full path, logits [N, classes]; None: the network's own are learned."""
        if (teacher := self.teacher(x.device)) is None:
            return None
        x = resized(x, teacher.input_shape[1])
        for stage in teacher.stages:
            x = stage(x)
        return teacher.exits[-1](x)
