"""Where the exits of a classifier should go: after which of its cut points.

names = [point.name for point in place_exits(find_cut_points(module, (3, 224, 224)), exits=5)]
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from impatient_ros.network.cut_points import CutPoint, CutPoints
from impatient_ros.network.tracing import CutError

__all__ = ['offered_points', 'place_exits']


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


def offered_points(points: CutPoints, exits: int, most: int = 16) -> list[CutPoint]:
    """Where `exits` exits might stand, for a choice among them: at most `most` points before the last one.

    Between the classifier's blocks where these are twice as many as the exits, else within them, too; the
    cheapest, those of `place_exits`, and others spread evenly over the cost. Raises CutError.
    """
    even = place_exits(points, exits)[:-1]
    offered: list[CutPoint] = []
    for depth in sorted({point.depth for point in points.points}):
        offered = _one_per_cost(points, depth)
        if len(offered) >= 2 * exits:
            break
    if len(offered) > most:
        spread = _nearest(offered[1:], [k / most for k in range(1, most - len(even))])
        offered = [offered[0], *spread]
    by_cost = {point.macs: point for point in (*offered, *even)}
    return [by_cost[macs] for macs in sorted(by_cost)]


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
