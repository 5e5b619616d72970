"""One batch: the losses of the exits, at this batch's resolutions, and what is minimised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from impatient_ros.network import ImpatientNetwork
from impatient_ros.network.heads import Head
from training.model import gradient_equilibrium
from training.model.frozen_features import scores_from
from training.model.resolutions import resized, sandwich
from training.risk.objective import JointRisk
from training.risk.path_weights import of_last_exits, within_exits

__all__ = ['final_features', 'joint_step', 'separate_step', 'sharing_exits']


def joint_step(
    networks: Sequence[ImpatientNetwork],
    sides: Sequence[int],
    risk: JointRisk,
    x: torch.Tensor,
    target: torch.Tensor | None,
    random: np.random.Generator,
    *,
    teacher: torch.Tensor | None = None,
    features_of: Callable[[torch.Tensor], list[torch.Tensor]] | None = None,
    backbone_first: bool = False,
    equilibrium: Sequence[float] | None = None,
    checked: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The risk (scalar), and the losses of all exits at the resolutions that were drawn, ascending.

    Args:
        networks: the network at each of `sides`, ascending; x [N, 3, H, W] is resized to them.
        target, teacher: as of `JointRisk.losses`.
        random: draws the resolutions between the smallest and the largest.
        features_of: gives what the stages but the last one make of a batch, where they do not learn; there is
            one resolution then, and no equilibrium.
        backbone_first: the last exits alone count.
        equilibrium: mix the gradients by these weights of the exits (see `gradient_equilibrium`); None: not.
        checked: as of `JointRisk.losses`.
    """
    weights = risk.weights.view(len(sides), -1)
    if backbone_first:
        counting, equilibrium = of_last_exits(weights), None
    else:
        # In equilibrium the gradients are weighted between the exits.
        counting = weights if equilibrium is None else within_exits(weights)
    logits: list[torch.Tensor] = []
    features: list[torch.Tensor | None] = []
    shares: list[torch.Tensor] = []
    paths: list[int] = []
    exits = weights.shape[1]
    sharing = sharing_exits(networks[-1]) if risk.feature_weight else ()
    for r, stands_for in sandwich(len(sides), random):
        network, view = networks[r], resized(x, sides[r])
        given = None if features_of is None else features_of(view)
        with final_features(network, sharing) as seen:
            if given is not None:
                logits += scores_from(network, given)
            elif equilibrium is not None:
                logits += gradient_equilibrium.forward(network, view, equilibrium)
            else:
                logits += network(view)
        features += [seen.get(t) for t in range(exits)]
        shares.append(stands_for * counting[r])
        paths += range(r * exits, (r + 1) * exits)
    losses = risk.losses(logits, target, paths, teacher=teacher, features=features, checked=checked)
    return (torch.cat(shares) * losses).sum(), losses.detach()


def separate_step(
    network: ImpatientNetwork,
    chosen: Sequence[int],
    risk: JointRisk,
    x: torch.Tensor,
    target: torch.Tensor,
    *,
    backbone: bool,
    checked: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of the losses of the exits `chosen` (scalar), and each of them; `backbone`: it learns, too.

    They share at most a fresh final layer: weights would only scale their learning rates.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and backbone):
        features = []
        for stage in network.stages[: max(chosen) + 1]:
            x = stage(x)
            features.append(x)
    logits = [network.exits[t](features[t]) for t in chosen]
    losses = risk.losses(logits, target, chosen, checked=checked)
    return losses.sum(), losses.detach()


def sharing_exits(network: ImpatientNetwork) -> tuple[int, ...]:
    """The exits (0-based) that end in the network's own final layer, the last one included; () where no other
    one does.
    """
    *earlier, last = range(len(network.exits))
    sharing = [t for t in earlier if _final(network.exits[t]) is not None]
    return (*sharing, last) if sharing else ()


@contextmanager
def final_features(network: ImpatientNetwork, sharing: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
    """What the exits `sharing` give to the layer that they share, [N, features] by exit, of the one forward
    pass within.
    """
    seen: dict[int, torch.Tensor] = {}
    if not sharing:
        yield seen
        return
    exits = iter(sharing)  # evaluated in this order

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen[next(exits)] = inputs[0]

    final = _final(network.exits[sharing[0]])
    assert final is not None
    hook = final.register_forward_pre_hook(note)
    try:
        yield seen
    finally:
        hook.remove()


def _final(head: nn.Module) -> nn.Module | None:
    """The layer that a head shares with the network, if it does."""
    return head.classify if isinstance(head, Head) and head.spec.shared is not None else None
