"""All exits that might be: what each costs and how accurate it would be, and the choice among them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from impatient_ros.network import ImpatientNetwork
from impatient_ros.network.cut_points import find_cut_points
from impatient_ros.network.exit_placement import offered_points, place_exits
from impatient_ros.network.heads import build_heads, plan_head
from training.data.data_module import PictureData
from training.model.networks import NetworkOptions, build
from training.placement.estimate import estimated
from training.placement.placement import Placement
from training.placement.search import Candidate, Costs, best_set, worth
from training.risk.costs import increasing, measured_profile
from training.risk.expected_accuracy import distribution_of
from training.risk.options import RiskOptions

__all__ = ['place']

log = logging.getLogger(__name__)

# Heads are offered in these sizes, in parts of what each would have if all exits shared evenly.
SIZES = (0.5, 1.0, 2.0, 4.0)


def place(network: NetworkOptions, risk: RiskOptions, data: PictureData, device: torch.device) -> Placement:
    """Estimate all candidates and choose among them. Raises ValueError, OSError."""
    started = time.monotonic()
    if risk.costs == 'macs' and distribution_of(risk.budgets, 1.0)[1] == 's':
        raise ValueError(f'{risk.budgets} has budgets in seconds: write model.risk.costs measured')
    assert not isinstance(network.head_share, list)  # see `wanted`
    classes, size = len(data.labels), data.preprocessing.size
    plain = build(replace(network, exits=1, cuts=None), classes=classes, image_size=size)
    points = find_cut_points(plain.classifier, plain.input_shape)
    offered = offered_points(points, network.exits)
    even_names = [point.name for point in place_exits(points, network.exits)[:-1]]
    names = [point.name for point in offered]
    share = network.head_share / (network.exits - 1)
    sizes = [part * share for part in SIZES if part * share <= network.head_share]
    options = replace(network, exits=len(names) + 1, cuts=names, head_share=[sizes[0]] * len(names))
    whole = build(options, classes=classes, image_size=size)
    heads = [list(whole.exits[:-1])]
    for each in sizes[1:]:
        budget = int(each * points.macs)
        specs = [
            plan_head(
                point, points.classes, budget=budget, image=size, kind=network.head_kind, final=points.final
            )
            for point in offered
        ]
        heads.append([*build_heads(specs, whole.classifier)])
    backbone, head_costs, last_cost, unit = _costs(whole, heads, risk)
    given = bool(network.start or network.weights)
    found = estimated(whole, heads, data, frozen=given, device=device)
    candidates = _candidates(names, sizes, backbone, head_costs, heads, found.heads, points.macs)
    distribution, _ = distribution_of(risk.budgets, last_cost + risk.overhead)
    costs = Costs(last_cost, risk.overhead, risk.mode == 'interruptible')
    chosen = best_set(
        distribution, candidates, found.last, costs, exits=network.exits, head_share=network.head_share
    )
    evenly = [_nearest(candidates, name, share) for name in even_names]
    placement = Placement(
        budgets=risk.budgets,
        unit=unit,
        candidates=tuple(candidates),
        chosen=tuple(candidates.index(each) for each in chosen),
        even=tuple(candidates.index(each) for each in evenly),
        last_cost=last_cost + risk.overhead,
        last_accuracy=found.last,
        expected=worth(distribution, chosen, found.last, costs),
        expected_even=worth(distribution, evenly, found.last, costs),
        about={
            'backbone': 'the given network' if given else 'the plain classifier, which learned beside them',
            'learned': found.learned,
            'held_out': found.held_out,
            'views': found.views,
            'seconds': round(time.monotonic() - started, 1),
            'overhead': risk.overhead,
            'mode': risk.mode,
            'relative': data.labels_from is not None,
        },
        key={},
    )
    log.info(
        'exits after %s: expected accuracy %.1f%% under %s, by an estimate that has %.1f%% for %s (evenly)',
        ', '.join(f'{each.name} ({each.accuracy:.0%})' for each in chosen) or 'nothing but the last layer',
        100 * placement.expected, risk.budgets, 100 * placement.expected_even, ', '.join(even_names),
    )  # fmt: skip
    return placement


def _costs(
    network: ImpatientNetwork, heads: Sequence[Sequence[Any]], risk: RiskOptions
) -> tuple[list[float], list[list[float]], float, str]:
    """Up to each cut point, of each head [size][cut point], of the last exit, and their unit."""
    if risk.costs == 'macs':
        if risk.overhead:
            raise ValueError(
                'overhead is in seconds and costs are MACs: write costs measured, or no overhead'
            )
        ends = [a - b for a, b in zip(network.costs(), network.exit_macs, strict=True)]
        macs = [[float(head.spec.macs) for head in of_size] for of_size in heads]
        return ends[:-1], macs, network.costs()[-1], 'MACs'
    upto: list[list[float]] = []
    costs: list[list[float]] = []
    lasts: list[float] = []
    network.eval()
    for of_size in heads:
        for t, head in enumerate(of_size):
            network.exits[t] = head
        profile = measured_profile(network)
        costs.append([profile.head_cost(t) for t in range(len(of_size))])
        upto.append([c - h for c, h in zip(profile.costs('contract'), costs[-1], strict=False)])
        lasts.append(profile.costs('contract')[-1])
    # The backbone is the same each time: the least of several medians is the one that was disturbed least.
    return list(increasing([min(each) for each in zip(*upto, strict=True)])), costs, min(lasts), 's'


def _candidates(
    names: Sequence[str],
    sizes: Sequence[float],
    backbone: Sequence[float],
    head_costs: Sequence[Sequence[float]],
    heads: Sequence[Sequence[Any]],
    accuracies: Sequence[Sequence[float]],
    macs: int,
) -> list[Candidate]:
    """One for each cut point and head; sizes that make the same head there are one."""
    found: dict[tuple[int, Any], Candidate] = {}
    for share, own_costs, own_heads, own_accuracies in zip(sizes, head_costs, heads, accuracies, strict=True):
        for position, (name, head) in enumerate(zip(names, own_heads, strict=True)):
            found.setdefault(
                (position, head.spec),
                Candidate(
                    name,
                    position,
                    share,
                    backbone[position],
                    own_costs[position],
                    head.spec.macs / macs,
                    own_accuracies[position],
                ),
            )
    return sorted(found.values(), key=lambda each: (each.position, each.share))


def _nearest(candidates: Sequence[Candidate], name: str, share: float) -> Candidate:
    return min((each for each in candidates if each.name == name), key=lambda each: abs(each.share - share))
