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

__all__ = ['JointRisk', 'floored', 'teaching']

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


def teaching(weights: Sequence[float], distillation: float) -> tuple[float, ...]:
    """`weights` [T] where the last exit teaches the others: it gets what they learn from it.

    An exit of weight w whose share g is learned from the last one is no better than that one in this share:
    g w counts for the last exit, too. Without it a distribution that seldom reaches the last exit gives all
    others a bad teacher.
    """
    *earlier, last = (float(w) for w in weights)
    return (*earlier, last + distillation * sum(earlier))


class JointRisk(nn.Module):
    """Cross-entropy at every exit and their weighted sum.

    With `distillation` g > 0 the exits before the last learn from it, too (Hinton et al., "Distilling the
    Knowledge in a Neural Network", 2015): (1 - g) CE(z_t, y) + g tau^2 KL(softmax(z_T / tau) || softmax(z_t /
    tau)), the mean over the batch, without a gradient into the last exit. With a `feature_weight` f > 0 heads
    that share the network's final layer also learn what the network itself gives to it, as f (1 - cos(h_t,
    h_T)): its answers follow from these features, and of many classes most scores say little.
    """

    weights: torch.Tensor
    class_weights: torch.Tensor | None

    def __init__(
        self,
        weights: Sequence[float],
        *,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        distillation: float = 0.0,
        temperature: float = 2.0,
        feature_weight: float = 0.0,
        names: Sequence[str] = (),
    ) -> None:
        """`weights` [T] of the exits, as `floored` returns them, or of all paths, where each exit is at
        several resolutions; `class_weights` [classes] say how much a picture of each class counts in the
        cross-entropy; `temperature` is tau; `names` of the exits are for error messages.
        """
        super().__init__()
        if not 0 <= distillation <= 1:
            raise ValueError(f'distillation is {distillation!r}; write a share between 0 and 1')
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f'the temperature of distillation is {temperature!r}; write a number above 0')
        self.register_buffer('weights', torch.tensor([float(w) for w in weights]))
        of_classes = None if class_weights is None else torch.tensor([float(w) for w in class_weights])
        self.register_buffer('class_weights', of_classes, persistent=False)  # follow from the pictures
        self.label_smoothing = label_smoothing
        if not (math.isfinite(feature_weight) and feature_weight >= 0):
            raise ValueError(f'the weight of features is {feature_weight!r}; write a number, at least 0')
        self.distillation, self.temperature = distillation, temperature
        self.feature_weight = feature_weight
        self.names = tuple(names) or tuple(f'{t + 1} of {len(weights)}' for t in range(len(weights)))

    def losses(
        self,
        logits: Sequence[torch.Tensor],
        target: torch.Tensor | None,
        exits: Sequence[int] | None = None,
        *,
        teacher: torch.Tensor | None = None,
        features: Sequence[torch.Tensor | None] = (),
        checked: bool = True,
    ) -> torch.Tensor:
        """The loss of each of the given logits, in single precision [len(logits)].

        logits: tensors [N, classes], those of the exits `exits` (default all, 0-based); target: class indices
        [N] or probabilities [N, classes]; None where nothing but answers is known: those of another network,
        the logits `teacher` [N, classes], or the last exit's, whose own loss is then 0. features: what each
        of these exits gives to the final layer that it shares with the last one, [N, features], or None; ()
        where nothing is shared. FloatingPointError names the exit whose loss is not finite, unless not
        `checked`: to look at a number, the processor waits for the device.
        """
        exits = range(len(logits)) if exits is None else exits
        if target is None:
            of = logits[-1].detach() if teacher is None else teacher
            taught = (of.float() / self.temperature).log_softmax(1)
            learnt = [
                taught.new_zeros(()) if teacher is None and z is logits[-1] else self._divergence(z, taught)
                for z in logits
            ]
            each = torch.stack(learnt)
        else:
            each = self._labelled(logits, target)
        if self.feature_weight and features and features[-1] is not None:
            each = each + self.feature_weight * self._feature_distances(features)
        if checked and not (finite := torch.isfinite(each)).all():
            worst = int((~finite).nonzero()[0])
            raise FloatingPointError(
                f'the loss of exit {self.names[exits[worst]]} is {each[worst].item()}; '
                'lower the learning rate or look for broken pictures'
            )
        return each

    def _labelled(self, logits: Sequence[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        each = torch.stack(
            [
                functional.cross_entropy(
                    z.float(), target, weight=self.class_weights, label_smoothing=self.label_smoothing
                )
                for z in logits
            ]
        )
        if self.distillation and len(logits) > 1:
            teacher = (logits[-1].detach().float() / self.temperature).log_softmax(1)
            learnt = torch.stack([self._divergence(z, teacher) for z in logits[:-1]])
            mixed = (1 - self.distillation) * each[:-1] + self.distillation * learnt
            each = torch.cat([mixed, each[-1:]])
        return each

    def forward(
        self, logits: Sequence[torch.Tensor], target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The risk (scalar) and the losses of all exits [T], the latter detached.

        ValueError for another number of exits; otherwise as `losses`.
        """
        if len(logits) != len(self.weights):
            raise ValueError(f'{len(logits)} exits, but {len(self.weights)} exit weights')
        losses = self.losses(logits, target)
        return (self.weights * losses).sum(), losses.detach()

    def _feature_distances(self, features: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """1 - cosine to those of the last exit, [T]; 0 for itself and for exits that do not share."""
        assert features[-1] is not None
        taught = features[-1].detach().float()
        return torch.stack(
            [
                taught.new_zeros(())
                if h is None or h is features[-1]
                else (1 - functional.cosine_similarity(h.float(), taught)).mean()
                for h in features
            ]
        )

    def _divergence(self, z: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        student = (z.float() / self.temperature).log_softmax(1)
        divergence = functional.kl_div(student, teacher, reduction='batchmean', log_target=True)
        return self.temperature**2 * divergence
