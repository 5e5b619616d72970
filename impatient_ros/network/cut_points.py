"""Where a classifier can be cut, and where its exits should go.

A classifier can be cut where a single tensor is live: everything after the cut is computed from that tensor
(and from parameters, which travel with the stage that uses them).

    points = find_cut_points(module, (3, 224, 224))
    names = [point.name for point in place_exits(points, exits=5)]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import fx, nn

from impatient_ros.network.macs import Observation, observe, without_data
from impatient_ros.network.tracing import CutError, Trace, trace, undisturbed
from impatient_ros.suggestions import did_you_mean

__all__ = ['CutError', 'CutPoint', 'CutPoints', 'find_cut_points', 'place_exits']


@dataclass(frozen=True)
class CutPoint:
    """A place where one tensor is live.

    `shape` is the tensor's without the batch, `cost_share` the part of the classifier's MACs up to here,
    `layout` names its axes: NCHW, NHWC, NLC (tokens), NCL or NC. `depth` is 0 between the classifier's own
    blocks and grows within them.
    """

    name: str
    shape: tuple[int, ...]
    cost_share: float
    macs: int
    layout: str
    depth: int


@dataclass(frozen=True)
class CutPoints:
    """All cut points of a classifier in order, and `last`, the one before its own last classifier.

    `macs` and `classes` are the classifier's; `aliases` gives the names of points that have several.
    """

    points: tuple[CutPoint, ...]
    last: CutPoint
    macs: int
    classes: int
    aliases: dict[str, str]

    def find(self, name: str) -> CutPoint:
        """The point of that name. Raises CutError with near ones."""
        canonical = self.aliases.get(name, name)
        for point in self.points:
            if point.name == canonical:
                return point
        names = [point.name for point in self.points]
        hint = did_you_mean(name, names, f'there are {len(names)}, see cut_points()')
        raise CutError(f'{name!r} is not a cut point ({hint})')


def find_cut_points(module: nn.Module, input_shape: Sequence[int]) -> CutPoints:
    """Find where `module` can be cut; `input_shape` is that of one input, such as (3, 224, 224).

    Nothing is computed, except where a forward looks at values. Raises CutError, with the reason, where the
    classifier cannot be traced or cut.
    """
    try:
        twin = without_data(module)
        with torch.device('meta'):
            traced = trace(twin)
        return _find(twin, traced, tuple(input_shape))
    except Exception as error:
        if not isinstance(error, CutError):
            error = _refusal(module, input_shape, error)
        if any(each.is_meta for each in module.parameters()):
            raise error from error.__cause__
    try:
        with undisturbed(module):
            return _find(module, trace(module), tuple(input_shape))
    except CutError:
        raise
    except Exception as error:
        raise _refusal(module, input_shape, error) from error


def place_exits(
    points: CutPoints, exits: int | None = None, names: Sequence[str] | None = None
) -> list[CutPoint]:
    """The points after which the `exits` (default 5) stand: evenly by cost, or at `names`.

    Evenly means as near to 1/T, 2/T, ... of the MACs as possible, between the classifier's blocks rather than
    within them where that is within a quarter of a stage; the last stands before the own classifier. `names`
    are those of all exits but the last, or of all. Raises CutError where they do not fit.
    """
    if exits is None:
        exits = 5 if names is None else len(names) + 1
    if isinstance(exits, bool) or not isinstance(exits, int) or exits < 1:
        raise CutError(f'exits is {exits!r}: write a whole number, at least 1')
    if names is not None:
        return _placed_by_name(points, exits, names)
    best: list[CutPoint] = []
    for depth in sorted({point.depth for point in points.points}):
        offered = _one_per_cost(points, depth)
        if len(offered) < exits - 1:
            continue
        best = _nearest(offered, [k / exits for k in range(1, exits)])
        if all(abs(point.cost_share - k / exits) <= 0.25 / exits for k, point in enumerate(best, 1)):
            break
    if len(best) < exits - 1:
        most = len(_one_per_cost(points, max(point.depth for point in points.points))) + 1
        raise CutError(f'{exits} exits do not fit: this classifier has places for at most {most}')
    return [*best, points.last]


def _find(module: nn.Module, traced: Trace, shape: tuple[int, ...]) -> CutPoints:
    what = type(module).__name__
    seen = observe(module, traced.graph, (1, *shape))
    answer = seen[traced.output]
    if len(answer.shape) != 2 or answer.shape[0] != 1:
        raise CutError(f'{what} answers {list(answer.shape)}: a classifier answers one score per class')
    # Where the image is doubled, the axes that grow are the picture's. Some classifiers take only one size.
    larger = (shape[0], *(2 * side for side in shape[1:])) if len(shape) == 3 else shape
    probe = observe(module, traced.graph, (2, *larger), partial=True)
    if traced.output not in probe:
        probe = observe(module, traced.graph, (2, *shape), partial=True) | probe

    points: dict[fx.Node, CutPoint] = {}
    for node in _single_live(traced):
        value = seen[node]
        if node in traced.depths and node in probe and _carries(node, module, value, probe[node]):
            points[node] = CutPoint(
                name=traced.names[node],
                shape=value.shape[1:],
                cost_share=value.macs / max(answer.macs, 1),
                macs=value.macs,
                layout=_layout(value.shape, probe[node].shape),
                depth=traced.depths[node],
            )
    found = tuple(points.values())
    last = _last(found, answer.macs)
    if last is None:
        raise CutError(
            f'{what} has no place before its classifier where a single tensor is live: nowhere to cut'
        )
    aliases = {name: points[node].name for name, node in traced.aliases.items() if node in points}
    return CutPoints(found, last, answer.macs, answer.shape[1], aliases)


def _single_live(traced: Trace) -> list[fx.Node]:
    """The nodes after which theirs is the only value that later nodes need."""
    nodes = list(traced.graph.nodes)
    position = {node: index for index, node in enumerate(nodes)}
    last_use = {node: max((position[user] for user in node.users), default=-1) for node in nodes}
    live: set[fx.Node] = set()
    found: dict[fx.Node, None] = {}
    for index, node in enumerate(nodes[: position[traced.output]]):
        if node.op != 'get_attr':
            live.add(node)
        live = {each for each in live if last_use[each] > index}
        if len(live) == 1:
            found.setdefault(next(iter(live)))
    found.pop(traced.input, None)
    return list(found)


def _carries(node: fx.Node, module: nn.Module, value: Observation, other: Observation) -> bool:
    """Whether a value can be handed on: one row per image, not dropped out, not written to later."""
    operation = module.get_submodule(str(node.target)) if node.op == 'call_module' else node.target
    dropout = isinstance(operation, nn.modules.dropout._DropoutNd) or 'dropout' in getattr(
        operation, '__name__', ''
    )
    return (
        not dropout
        and value.value is not None
        and value.value.is_floating_point()
        and not value.overwritten
        and 2 <= len(value.shape) <= 4
        and len(value.shape) == len(other.shape)
        and (value.shape[0], other.shape[0]) == (1, 2)
    )


def _layout(shape: tuple[int, ...], larger: tuple[int, ...]) -> str:
    """The axes of a feature map: those that grow with the image are its height and width (or its tokens)."""
    grown = tuple(axis for axis in range(1, len(shape)) if shape[axis] != larger[axis])
    if len(shape) == 4:
        if grown in ((1, 2), (2, 3)):
            return 'NHWC' if grown == (1, 2) else 'NCHW'
        # Known at one size only: the odd one out is the channels.
        return 'NHWC' if shape[1] == shape[2] != shape[3] else 'NCHW'
    if len(shape) == 3:
        return 'NCL' if grown == (2,) else 'NLC'
    return 'NC'


def _last(points: Sequence[CutPoint], macs: int) -> CutPoint | None:
    """The cut before the own classifier: the last feature map before it is pooled and classified."""
    before = [point for point in points if point.macs < macs]
    maps = [point for point in before if len(point.shape) > 1] or before
    run = [point for point in maps if point.macs == maps[-1].macs]
    return next((point for point in reversed(run) if prod(point.shape) == prod(run[0].shape)), None)


def _one_per_cost(points: CutPoints, depth: int) -> list[CutPoint]:
    """Points at most `depth` deep before the last, one for each cost: the least deep, of these the latest."""
    by_cost: dict[int, CutPoint] = {}
    for point in points.points:
        if point.depth <= depth and 0 < point.macs < points.last.macs:
            other = by_cost.get(point.macs)
            if other is None or point.depth <= other.depth:
                by_cost[point.macs] = point
    return list(by_cost.values())


def _nearest(points: Sequence[CutPoint], targets: Sequence[float]) -> list[CutPoint]:
    """One point per target, in order, with the least sum of squared distances (by dynamic programming)."""
    # best[j]: cost and choice for the targets so far, all of it among points[:j]
    best: list[tuple[float, list[CutPoint]]] = [(0.0, [])] * (len(points) + 1)
    for target in targets:
        row: list[tuple[float, list[CutPoint]]] = [(float('inf'), [])]
        for j, point in enumerate(points):
            cost = best[j][0] + (point.cost_share - target) ** 2
            row.append(min(row[-1], (cost, [*best[j][1], point]), key=lambda each: each[0]))
        best = row
    return best[-1][1]


def _placed_by_name(points: CutPoints, exits: int, names: Sequence[str]) -> list[CutPoint]:
    if isinstance(names, str) or len(names) not in (exits - 1, exits):
        raise CutError(
            f'cuts is {names!r} for {exits} exits: write {exits - 1} names, the last exit is the classifier'
        )
    chosen = [points.find(name) for name in names]
    if len(chosen) < exits:
        chosen.append(points.last)
    for first, second in pairwise(chosen):
        if first.macs >= second.macs:
            raise CutError(
                f'nothing is computed between the cuts {first.name!r} and {second.name!r}: name cuts in the '
                'order in which they run, each costing more than the one before'
            )
    return chosen


def _refusal(module: nn.Module, shape: Sequence[int], error: Exception) -> CutError:
    size = 'x'.join(str(side) for side in shape)
    reason = str(error).strip().split('\n', 1)[0] or type(error).__name__
    return CutError(f'{type(module).__name__} does not take an input of {size}: {reason}')
