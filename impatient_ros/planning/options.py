"""The sets of paths that a planner chooses from, worked out in advance for every place a frame can stand at.

A *path* is an exit at a resolution, as a number: r * T + t for exit t at the resolution of index r, so that
paths ascend in the order in which they can follow each other: deeper exits of one pass, then passes of higher
resolution. With one resolution a path is its exit.

The modes differ in nothing but their sets: contract considers single paths, adaptive single paths and pairs,
an insurance and a target, and interruptible the beginnings of one sequence: passes whose costs grow
geometrically, each with the exits that pay.

A path that another one dominates (not dearer and not worse) is never what a new pass aims at. On a pass that
has begun it may still be the nearest answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from impatient_ros.planning.depths import Depths
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.path_sets import Candidates, Completion, Gain, PathSet

__all__ = ['MODES', 'OptionTable', 'undominated']

MODES = ('contract', 'interruptible', 'adaptive')
MIN_COST = 1e-9  # s; times are divided by costs
# A protected exit is executed as one fused path where stopping at the boundaries on the way takes more than
# this share of its cost. That is so in small networks, where a decision per stage is dear and waiting for the
# exit is not. Chosen, not measured: replayed traces have no fused paths.
FUSED_SAVING = 0.06
# In interruptible mode a pass costs about this many times the one before it, and a target at least as many
# times its insurance: a dearer one takes more from it than it is worth. With doubled costs a sequence of
# contract runs needs at most four times what one run would that knew the interruption, and no other factor
# does better (Russell & Zilberstein, "Composing real-time systems", IJCAI 1991).
PASS_GROWTH = 2.0


class _Place(NamedTuple):
    """Where a frame stands: `resolution` is the index of the pass' (None: no picture is prepared), `position`
    the stages executed on it, `answered` the path that was evaluated last.
    """

    resolution: int | None
    position: int
    answered: int | None


class OptionTable:
    """The candidates of one mode at every place a frame can stand at.

    Args:
        profiles: one per resolution, ascending.
        accuracies: validation accuracy of each path, 0..1.

    Raises:
        ValueError: unknown mode, or not one accuracy per path.
    """

    def __init__(self, mode: str, profiles: Sequence[LatencyProfile], accuracies: Sequence[float]) -> None:
        if mode not in MODES:
            raise ValueError(f'mode is {mode!r}; write one of {", ".join(MODES)}')
        self.mode = mode
        self.profiles = tuple(profiles)
        self.exits = self.profiles[0].exits
        self.depths = Depths(len(self.profiles), self.exits)
        if len(accuracies) != self.exits * len(self.profiles):
            raise ValueError(
                f'{len(accuracies)} accuracies for {len(self.profiles)} resolutions of {self.exits} exits; '
                'give one per path'
            )
        self.accuracies = tuple(float(a) for a in accuracies)
        # For each path, whether a frame to which it is protected goes there without stopping on its way.
        self.fused = tuple(
            profile.boundary_overhead(t) > FUSED_SAVING
            for profile in self.profiles
            for t in range(self.exits)
        )
        self._costs = [cost for profile in self.profiles for cost in profile.costs('contract')]
        self.targets = undominated(self._costs, self.accuracies)
        self.sequence = self._sequence()
        # By _Place, as the plain tuple that it is: making one takes longer than looking it up.
        self._candidates: dict[tuple[int | None, int, int | None], Candidates] = {
            place: self._candidates_at(place) for place in self._all_places()
        }

    def at(self, resolution: int | None, position: int, answered: int | None) -> Candidates:
        """The candidates on a pass at that resolution (None: none has begun), after `position` stages of it,
        with the answer of the path `answered`, if any, in hand.
        """
        return self._candidates[resolution, position, answered]

    def _all_places(self) -> list[_Place]:
        T = self.exits
        places = [_Place(None, 0, None)]
        for r in range(len(self.profiles)):
            for position in range(T + 1):
                # Answers are those of earlier passes, or of this one's.
                places += [_Place(r, position, k) for k in (None, *range((r + 1) * T))]
        return places

    def _sequence(self) -> tuple[int, ...]:
        """The paths that interruptible mode evaluates in turn."""
        T, last = self.exits, len(self.profiles) - 1
        if last == 0:
            return tuple(range(T))
        # From the cheapest pass to the best answer, which need not be at the highest resolution, in as many
        # steps as their costs can double, give or take; each step to the resolution nearest to even growth.
        whole = [profile.costs('contract')[-1] for profile in self.profiles]
        first, best = min(self.targets) // T, max(self.targets, key=self.accuracies.__getitem__) // T
        ratio = max(1.0, whole[best] / whole[first])
        steps = max(1, int(math.log(ratio, PASS_GROWTH) + 0.25))
        wanted = [whole[first] * ratio ** (step / steps) for step in range(1, steps)]
        between = range(first + 1, best)
        nearest = (min(between, key=lambda r: abs(math.log(whole[r] / cost))) for cost in wanted if between)
        passes = sorted({first, *nearest, best})
        found: list[int] = []
        for r in passes:
            for k in range(r * T, (r + 1) * T):
                if not found or self.accuracies[k] > self.accuracies[found[-1]]:
                    found.append(k)
        return tuple(found)

    def _candidates_at(self, place: _Place) -> Candidates:
        firsts = self._firsts(place)
        sets: list[tuple[int, ...]]
        if self.mode == 'contract':
            sets = [(k,) for k in firsts]
        elif self.mode == 'interruptible':
            sets = [tuple(firsts[: number + 1]) for number in range(len(firsts))]
        else:
            sets = [*((k,) for k in firsts), *self._pairs(place, firsts)]
        alone = sorted({k for paths in sets for k in (paths[0], paths[-1])})
        completions: dict[tuple[int, ...], Completion] = {}
        prefixes = [paths[:number] for paths in sets for number in range(1, len(paths) + 1)]
        for paths in [(k,) for k in alone] + prefixes:
            if paths not in completions:
                completions[paths] = self._completion(place, paths, completions)
        indices = {paths: index for index, paths in enumerate(completions)}
        ordered = tuple(completions.values())
        path_sets = [self._path_set(paths, place.answered, indices) for paths in sets]
        path_sets.sort(key=lambda each: (len(each.paths) > 1, -each.max_gain))
        return Candidates(
            answered=place.answered is not None,
            alone={k: index for index, k in enumerate(alone)},
            starting=tuple(sorted({each.first for each in path_sets}, key=lambda i: ordered[i].cost)),
            completions=ordered,
            path_sets=tuple(path_sets),
        )

    def _firsts(self, place: _Place) -> list[int]:
        """The paths that may be evaluated next, ascending. In interruptible mode, all in turn."""
        T, r, answered = self.exits, place.resolution, place.answered
        offered = self.sequence if self.mode == 'interruptible' else self.targets
        if r is None:
            return list(offered)
        after = -1 if answered is None else answered
        reachable = [k for k in range(r * T + max(0, place.position - 1), (r + 1) * T) if k > after]
        # On its way every exit of the pass may become the nearest answer.
        own = [k for k in reachable if k in offered]
        if (not own and answered is None) or (place.position > 0 and self.mode != 'interruptible'):
            own = reachable
        higher = [k for k in offered if k >= (r + 1) * T]
        if self.mode == 'interruptible':
            return own + higher
        if answered is not None:
            return [k for k in own + higher if self.accuracies[k] > self.accuracies[answered]]
        # A picture has been prepared in vain where by now there is time for a lower resolution only.
        lower = [k for k in offered if k < r * T] if place.position == 0 else []
        return lower + own

    def _pairs(self, place: _Place, firsts: Sequence[int]) -> list[tuple[int, ...]]:
        """An insurance and a target: an earlier exit on its way, or a whole pass of a lower resolution."""
        T, r = self.exits, place.resolution
        after = -1 if place.answered is None else place.answered
        targets = sorted({*firsts, *(k for k in self.targets if r is None or k >= (r + 1) * T)})
        found: list[tuple[int, ...]] = []
        for target in targets:
            begun = target // T == r
            least = max(0, place.position - 1) if begun else 0
            on_the_way = [k for k in range(target // T * T + least, target) if k > after]
            if place.answered is None and r is not None and target // T > r:
                on_the_way = []  # before it has answered, no pass is given up for a dearer one
            cheaper = self._cheaper(target, firsts)
            if place.answered is not None and not begun:
                on_the_way = [k for k in on_the_way if self.accuracies[k] > self.accuracies[place.answered]]
            found += [
                (k, target) for k in cheaper + on_the_way if self.accuracies[k] < self.accuracies[target]
            ]
        return found

    def _cheaper(self, target: int, firsts: Sequence[int]) -> list[int]:
        """Of each lower resolution, the best path that is cheap enough to insure the target."""
        T = self.exits
        found: dict[int, int] = {}
        for k in firsts:  # ascending: of one pass the better one comes later
            if k // T < target // T and self._costs[k] * PASS_GROWTH <= self._costs[target]:
                found[k // T] = k
        return list(found.values())

    def _completion(
        self, place: _Place, paths: tuple[int, ...], known: dict[tuple[int, ...], Completion]
    ) -> Completion:
        T = self.exits
        cost, decisions = 0.0, 0
        prepares: list[int] = []
        for number, (r, group) in enumerate(groupby(paths, lambda k: k // T)):
            heads = [k % T for k in group]
            begun = r == place.resolution and not prepares  # a second pass prepares the picture again
            position = place.position if begun else 0
            if not begun:
                prepares.append(r)
            cost += self.profiles[r].expected_cost(position, heads)
            stages = max(0, heads[-1] + 1 - position)
            first_answer = number == 0 and place.answered is None and len(heads) == 1
            fused = first_answer and position == 0
            fused = fused and (self.mode == 'contract' or self.fused[r * T + heads[0]])
            decisions += 1 if fused else max(1, stages)
        cost = max(cost, MIN_COST)
        if len(paths) > 1:  # more paths are never done earlier, whatever two medians say
            cost = max(cost, known[paths[-1:]].cost, known[paths[:-1]].cost)
        depth = self.depths.place(r, stages, on_the_way=position > 0)
        return Completion(depth, cost, decisions, tuple(prepares))

    def _path_set(
        self, paths: tuple[int, ...], answered: int | None, indices: dict[tuple[int, ...], int]
    ) -> PathSet:
        reached = 0.0 if answered is None else self.accuracies[answered]
        gains = []
        for number, path in enumerate(paths, start=1):
            gain = max(0.0, self.accuracies[path] - reached)
            reached += gain
            gains.append(Gain(indices[paths[:number]], gain))
        optional = len(paths) > 1 or answered is not None
        max_gain = sum(gain.accuracy for gain in gains)
        first, last = indices[paths[:1]], indices[paths[-1:]]
        return PathSet(max_gain, paths, tuple(gains), optional, first, last, gains[0].accuracy)


def undominated(costs: Sequence[float], accuracies: Sequence[float]) -> tuple[int, ...]:
    """The indices of those that are more accurate than all that cost no more, ascending; of equals one."""
    found: list[int] = []
    for k in sorted(range(len(costs)), key=lambda k: (costs[k], -accuracies[k])):
        if not found or accuracies[k] > accuracies[found[-1]]:
            found.append(k)
    return tuple(sorted(found))
