"""The ways to train exits: jointly, and the baselines that joint training is compared with.

| method | what learns |
|---|---|
| joint | all, every exit weighted by how often budgets end there |
| distil | without labels: heads and private parameters, weighted as in joint; the full path stays as it was |
| ... train_backbone | all, from the answers of the full path as it was given |
| uniform | all, every exit weighted alike |
| separate | the heads only, each by itself, on a backbone that stays as it was given |
| last | the backbone and its own classifier: the plain network |
| truncated | the backbone up to one exit and that exit: a smaller plain network |
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from impatient_ros.network import ImpatientNetwork
from training.risk.class_weights import CHOICES as CLASS_WEIGHTS
from training.risk.objective import JointRisk, teaching
from training.risk.options import RiskOptions

__all__ = [
    'FROZEN',
    'METHODS',
    'check_options',
    'check_several_resolutions',
    'chosen_exits',
    'fixed_weights',
    'frozen',
    'joint_risk',
    'learns_like',
    'set_modes',
    'trainable',
]

METHODS = ('joint', 'distil', 'uniform', 'separate', 'last', 'truncated')
FROZEN = ('separate', 'distil')  # the backbone stays as it was given


def chosen_exits(
    method: str, exits: int, exit_number: int | None = None, *, classifier_given: bool = True
) -> tuple[int, ...]:
    """The exits (0-based) that `method` trains; `exit_number` (1..T) is the truncated one.

    A frozen backbone brings its own classifier along, unless not `classifier_given`: its weights were for
    other classes, say. Raises ValueError.
    """
    if method not in METHODS:
        raise ValueError(f'model.risk.method is {method!r}: write one of {", ".join(METHODS)}')
    if (method == 'truncated') != (exit_number is not None):
        raise ValueError(
            'model.risk.exit says at which exit a truncated network ends: write it with method truncated, '
            'and only there'
        )
    if exit_number is not None:
        if not 1 <= exit_number <= exits:
            raise ValueError(f'model.risk.exit is {exit_number}: this network has exits 1 to {exits}')
        return (exit_number - 1,)
    if method == 'last':
        return (exits - 1,)
    own = method == 'distil' or (method == 'separate' and classifier_given and exits > 1)
    return tuple(range(exits - 1 if own else exits))


def check_options(options: RiskOptions, frozen_from: str | None) -> None:
    """Raises ValueError for options that do not fit together.

    `frozen_from` is what a frozen backbone starts from.
    """
    if not 0 <= options.mixed < 1:
        raise ValueError(f'model.risk.mixed is {options.mixed}: write a share from 0 to below 1')
    if options.class_weights not in CLASS_WEIGHTS:
        raise ValueError(
            f'model.risk.class_weights is {options.class_weights!r}: write one of {", ".join(CLASS_WEIGHTS)}'
        )
    if options.train_backbone and options.method != 'distil':
        raise ValueError(
            'model.risk.train_backbone says what learns with method distil: write that, or leave it out'
        )
    taught = options.method == 'distil' or (options.method in ('joint', 'uniform') and options.distillation)
    if options.feature_weight and not taught:
        raise ValueError(
            'model.risk.feature_weight compares with what teaches: write method distil, or joint or uniform '
            'with model.risk.distillation, or leave it out'
        )
    if options.method in FROZEN and not frozen_from:
        raise ValueError(
            f'method {options.method} learns beside a frozen backbone: write which, model.network.start (a '
            'checkpoint, such as that of a run with method last) or model.network.weights'
        )


def learns_like(options: RiskOptions) -> str:
    """The method in which the same parts learn."""
    return 'joint' if options.train_backbone else options.method


def check_several_resolutions(method: str, mode: str) -> None:
    """Raises ValueError for a method or a mode that does not go with several resolutions."""
    if method not in ('joint', 'distil', 'uniform'):
        raise ValueError(
            f'method {method} trains at one size: leave out model.network.resolutions; a plain network at '
            'several is method joint with model.network.exits 1'
        )
    if mode != 'contract':
        raise ValueError(
            'in interruptible mode passes at several resolutions follow each other and their costs add up, '
            'which the weights do not know: write model.risk.mode contract'
        )


def joint_risk(
    options: RiskOptions,
    weights: Sequence[float],
    class_weights: Sequence[float] | None,
    names: Sequence[str],
) -> JointRisk:
    """The risk over paths of these `weights` and `names`. Raises ValueError."""
    distillation = options.distillation if options.method in ('joint', 'uniform') else 0.0
    # Without labels features count by default; where no head shares the final layer, there are none.
    by_default = 1.0 if options.method == 'distil' else 0.0
    feature_weight = by_default if options.feature_weight is None else options.feature_weight
    return JointRisk(
        teaching(weights, distillation),
        class_weights=class_weights,
        label_smoothing=options.label_smoothing,
        distillation=distillation,
        temperature=options.distillation_temperature,
        feature_weight=feature_weight if distillation or options.method == 'distil' else 0.0,
        names=names,
    )


def fixed_weights(method: str, chosen: Sequence[int], exits: int) -> tuple[float, ...] | None:
    """The exits' weights [T] where they do not depend on budgets; None for joint training."""
    if method in ('joint', 'distil'):
        return None
    return tuple(1 / len(chosen) if t in chosen else 0.0 for t in range(exits))


def trainable(network: ImpatientNetwork, method: str, chosen: Sequence[int]) -> list[nn.Module]:
    """The parts of `network` that learn under `method`."""
    heads = [network.exits[t] for t in chosen]
    private = [part for name, part in network.named_children() if name == 'private']
    if method == 'distil' and not any(list(part.parameters()) for part in (*heads, *private)):
        raise ValueError(
            'method distil has nothing to learn: write more exits (model.network.exits), or which parameters '
            'smaller resolutions have for themselves (model.network.private: affine, depthwise)'
        )
    stages = [] if method in FROZEN else list(network.stages[: max(chosen) + 1])
    return [*stages, *heads, *private]


def frozen(network: ImpatientNetwork, learning: Sequence[nn.Module], method: str) -> list[nn.Module]:
    """Switch off all parameters but those of `learning`; returns the parts that stay as they are."""
    kept = {id(part) for part in learning}
    others = [part for part in (*network.stages, *network.exits) if id(part) not in kept]
    shared = {id(p) for part in learning for p in part.parameters()}
    if method in FROZEN:  # also what a head shares with the backbone's own classifier
        shared -= {id(p) for part in others for p in part.parameters()}
    for parameter in network.parameters():
        parameter.requires_grad_(id(parameter) in shared)
    return others


def set_modes(network: ImpatientNetwork, method: str, chosen: Sequence[int]) -> None:
    """Training mode for `network`, but for the parts whose running averages are to stay."""
    network.train()
    for stage in network.stages if method in FROZEN else []:
        stage.eval()
    for t in set(range(len(network.exits))) - set(chosen):
        network.exits[t].eval()
