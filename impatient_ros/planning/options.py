"""The sets of heads that a planner chooses from, worked out in advance for every place a frame can stand at.

The modes differ in nothing else: contract considers single heads, interruptible every head on the way,
adaptive single heads and pairs, an insurance and a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from impatient_ros.planning.latency_profile import LatencyProfile

__all__ = ['MODES', 'Candidates', 'Completion', 'Gain', 'HeadSet', 'OptionTable']

MODES = ('contract', 'interruptible', 'adaptive')
MIN_COST = 1e-9  # s; times are divided by costs
# A protected exit is executed as one fused path where stopping at the boundaries on the way takes more than
# this share of its cost. That is so in small networks, where a decision per stage is dear and waiting for the
# exit is not. Chosen, not measured: replayed traces have no fused paths.
FUSED_SAVING = 0.06


# Slotted classes rather than tuples: reading their attributes is what takes the least time in a decision.


@dataclass(frozen=True, slots=True)
class Completion:
    """Being done with a head after certain others.

    Attributes:
        stages: number of stages still to be executed.
        cost: median seconds, without decisions.
        decisions: how many are made on the way.
    """

    stages: int
    cost: float
    decisions: int


@dataclass(frozen=True, slots=True)
class Gain:
    """What one head of a set contributes: the index of its completion, and the accuracy that it adds."""

    completion: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class HeadSet:
    """A set of heads to evaluate.

    Attributes:
        max_gain: accuracy that all of them add.
        heads: ascending.
        gains: one per head.
        optional: whether it goes beyond a first answer.
        first, last: the completions of its first and of its last head, each alone.
    """

    max_gain: float
    heads: tuple[int, ...]
    gains: tuple[Gain, ...]
    optional: bool
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Candidates:
    """What there is to choose from where a frame stands.

    Attributes:
        answered: whether an answer is in hand.
        first: the first open head.
        single: the completions of each open head alone, from `first` on.
        starting: those of the heads that some set begins with: all of `single`, or its first.
        completions: of all heads in all sets, `single` first.
        head_sets: those that may add most first.
    """

    answered: bool
    first: int
    single: tuple[Completion, ...]
    starting: tuple[Completion, ...]
    completions: tuple[Completion, ...]
    head_sets: tuple[HeadSet, ...]


class OptionTable:
    """The candidates of one mode at every place a frame can stand at.

    Args:
        accuracies: validation accuracy of each exit, 0..1.

    Raises:
        ValueError: unknown mode, or not one accuracy per exit.
    """

    def __init__(self, mode: str, profile: LatencyProfile, accuracies: Sequence[float]) -> None:
        if mode not in MODES:
            raise ValueError(f'mode is {mode!r}; write one of {", ".join(MODES)}')
        if len(accuracies) != profile.exits:
            raise ValueError(f'{len(accuracies)} accuracies for {profile.exits} exits; give one per exit')
        self.mode = mode
        self.profile = profile
        self.accuracies = tuple(float(a) for a in accuracies)
        # For each exit, whether a frame to which it is protected goes there without stopping on its way.
        self.fused = tuple(profile.boundary_overhead(t) > FUSED_SAVING for t in range(profile.exits))
        exits = range(profile.exits)
        self._candidates = {
            (position, answered): self._candidates_at(position, answered)
            for position in range(profile.exits + 1)
            for answered in (None, *exits)
        }

        self.start = self.at(0, None)  # the candidates of a frame before its first stage

    def at(self, position: int, answered: int | None) -> Candidates:
        """The candidates after `position` stages with the answer of exit `answered`, if any, in hand."""
        return self._candidates[position, answered]

    def _candidates_at(self, position: int, answered: int | None) -> Candidates:
        first = max(0, position - 1) if answered is None else max(position - 1, answered + 1)
        open_heads = range(first, self.profile.exits)
        singles: list[tuple[int, ...]] = [(t,) for t in open_heads]
        if self.mode == 'contract':
            sets = singles
        elif self.mode == 'interruptible':
            sets = [tuple(range(first, t + 1)) for t in open_heads]
        else:
            sets = singles + [(early, t) for t in open_heads for early in range(first, t)]
        completions: dict[tuple[int, ...], Completion] = {}
        prefixes = [heads[:number] for heads in sets for number in range(1, len(heads) + 1)]
        for heads in singles + prefixes:
            if heads not in completions:
                completions[heads] = self._completion(position, heads, completions)
        places = {heads: index for index, heads in enumerate(completions)}
        head_sets = [self._head_set(heads, answered, first, places) for heads in sets]
        head_sets.sort(key=lambda each: -each.max_gain)
        found = tuple(completions.values())
        single = found[: len(singles)]
        starting = single[:1] if self.mode == 'interruptible' else single
        return Candidates(answered is not None, first, single, starting, found, tuple(head_sets))

    def _completion(
        self, position: int, heads: tuple[int, ...], known: dict[tuple[int, ...], Completion]
    ) -> Completion:
        cost = max(self.profile.expected_cost(position, heads), MIN_COST)
        if len(heads) > 1:  # more heads are never done earlier, whatever two medians say
            cost = max(cost, known[heads[-1:]].cost, known[heads[:-1]].cost)
        stages = max(0, heads[-1] + 1 - position)
        fused = len(heads) == 1 and position == 0 and (self.mode == 'contract' or self.fused[heads[0]])
        return Completion(stages, cost, 1 if fused else max(1, stages))

    def _head_set(
        self,
        heads: tuple[int, ...],
        answered: int | None,
        first: int,
        places: dict[tuple[int, ...], int],
    ) -> HeadSet:
        reached = 0.0 if answered is None else self.accuracies[answered]
        gains = []
        for number, head in enumerate(heads, start=1):
            gain = max(0.0, self.accuracies[head] - reached)
            reached += gain
            gains.append(Gain(places[heads[:number]], gain))
        optional = len(heads) > 1 or answered is not None
        max_gain = sum(gain.accuracy for gain in gains)
        return HeadSet(max_gain, heads, tuple(gains), optional, heads[0] - first, heads[-1] - first)
