"""What of the risk can be chosen; its methods are in `methods`."""

from __future__ import annotations

from dataclasses import dataclass

from training.risk.objective import FLOOR

__all__ = ['RiskOptions']


@dataclass(frozen=True)
class RiskOptions:
    """What is minimised.

    Attributes:
        method: joint, distil (without labels), or a baseline: uniform, separate, last, truncated (see
            training.risk.methods).
        exit: with method truncated: the exit (1 to T) at which that network ends.
        budgets: uniform, normal, early, late, bimodal, or a .yaml file with budgets in seconds.
        costs: macs, measured, a latency profile (.json), or seconds per exit (of every resolution).
        mode: contract or interruptible, as the network will run.
        overhead: seconds for decoding, preprocessing and publishing, added to costs in seconds.
        floor: share of the weights that all exits (at all resolutions) get alike.
        class_weights: none, or balanced: all classes count alike, however many pictures they have.
        label_smoothing: share of the target's probability that all classes get alike.
        distillation: share of the last exit's answers, at the largest resolution, in what earlier exits and
            smaller resolutions learn; its own weight then includes what they learn from it (see
            training.risk.objective.teaching).
        distillation_temperature: at which these answers are compared.
        feature_weight: of 1 - cosine between what heads that share the network's final layer give to it and
            what the network itself does; with distillation or method distil. Default: 1 with method distil
            where heads share that layer, else 0.
        train_backbone: with method distil: all learns, from the answers of the network as it was given; else
            the full path stays as it was.
        equilibrium: mix the exits' gradients by the budgets behind them (see model.gradient_equilibrium).
        mixed: share of the epochs, at the start, in which only the last exit learns.
    """

    method: str = 'joint'
    exit: int | None = None
    budgets: str = 'uniform'
    costs: str | list[float] = 'macs'
    mode: str = 'contract'
    overhead: float = 0.0
    floor: float = FLOOR
    class_weights: str = 'none'
    label_smoothing: float = 0.0
    distillation: float = 0.0
    distillation_temperature: float = 2.0
    feature_weight: float | None = None
    train_backbone: bool = False
    equilibrium: bool = False
    mixed: float = 0.0
