"""Calibration of one exit: its temperature, and how far its confidences are from its accuracy.

Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.

torchmetrics has the error alone (a test compares the two): the bins behind it, which reports show, it keeps
to itself, and with them the error is one line. It has no fit of a temperature.
"""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ['calibration_error', 'fit_temperature', 'reliability']

BINS = 15  # as in that paper, so that errors can be compared


def fit_temperature(logits: torch.Tensor, target: torch.Tensor) -> float:
    """The temperature T > 0 that minimises the NLL of softmax(logits / T) on a held-out split.

    logits [N, classes], target [N], or probabilities [N, classes] of another network. The NLL is convex in
    1 / T: the search narrows an interval of log T by golden sections, without a step size that could diverge.
    The result is within 0.05..20.
    """
    if len(logits) == 0:
        raise ValueError('no held-out pictures to fit a temperature on')
    logits = logits.double()
    target = target.double() if target.is_floating_point() else target

    def nll(log_temperature: float) -> float:
        return functional.cross_entropy(logits / torch.tensor(log_temperature).exp(), target).item()

    low, high, section = -3.0, 3.0, (5**0.5 - 1) / 2
    left, right = high - section * (high - low), low + section * (high - low)
    at_left, at_right = nll(left), nll(right)
    while high - low > 1e-4:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - section * (high - low)
            at_left = nll(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + section * (high - low)
            at_right = nll(right)
    return float(torch.tensor((low + high) / 2).exp())


def calibration_error(logits: torch.Tensor, target: torch.Tensor, temperature: float = 1.0) -> float:
    """Expected calibration error over 15 equal bins of confidence: mean |accuracy - confidence|, 0..1."""
    _, confidence, correct = _bin_sums(logits, target, temperature)
    return float((correct - confidence).abs().sum() / len(target))


def reliability(
    logits: torch.Tensor, target: torch.Tensor, temperature: float = 1.0
) -> dict[str, list[float]]:
    """The bins behind `calibration_error`: count of pictures, their mean confidence and accuracy, or 0."""
    count, confidence, correct = _bin_sums(logits, target, temperature)
    divisor = count.clamp(min=1)
    return {
        'count': count.tolist(),
        'confidence': (confidence / divisor).tolist(),
        'accuracy': (correct / divisor).tolist(),
    }


def _bin_sums(logits: torch.Tensor, target: torch.Tensor, temperature: float) -> torch.Tensor:
    """Per bin of confidence: the number of pictures, the sum of confidences, the right answers; [3, BINS]."""
    confidence, predicted = (logits.double() / temperature).softmax(1).max(1)
    correct = (predicted == target).double()
    bins = (confidence * BINS).long().clamp_(max=BINS - 1)
    sums = torch.zeros(3, BINS, dtype=torch.double)
    for row, values in zip(sums, (torch.ones_like(confidence), confidence, correct), strict=True):
        row.index_add_(0, bins, values)
    return sums
