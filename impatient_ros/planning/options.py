"""The sets of heads that a planner chooses from, worked out in advance for every place a frame can stand at.

The modes differ in nothing else: contract considers single heads, interruptible every head on the way,
adaptive single heads and pairs, an insurance and a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from impatient_ros.planning.latency_profile import LatencyProfile

__all__ = ['MODES', 'Choice', 'Option', 'choice']

MODES = ('contract', 'interruptible', 'adaptive')
LEAST_COST = 1e-9  # s; what there is is divided by it


class Option(NamedTuple):
    """A set of heads, worked out in advance.

    Attributes:
        most: accuracy that all of them add.
        heads: ascending.
        gains: for each head, the index of its completion and the accuracy that it adds.
        gamble: whether it goes beyond a first answer.
        first, last: the completions of its first and of its last head, alone.
    """

    most: float
    heads: tuple[int, ...]
    gains: tuple[tuple[int, float], ...]
    gamble: bool
    first: int
    last: int


@dataclass(frozen=True)
class Choice:
    """What there is to choose from where a frame stands.

    Attributes:
        completions: number of stages, usual cost in seconds and number of decisions, for being done with a
            head after certain others; first those of each open head alone.
        options: those that may add most first.
        first: the first open head.
        alone: the completions of the heads that some option begins with; they are the first ones.
    """

    completions: tuple[tuple[int, float, int], ...]
    options: tuple[Option, ...]
    first: int
    alone: tuple[tuple[int, float, int], ...]


def choice(
    mode: str,
    profile: LatencyProfile,
    accuracies: Sequence[float],
    position: int,
    answered: int | None,
    in_one_go: Sequence[bool] = (False,) * 1000,
) -> Choice:
    """What there is to choose from after `position` stages with the answer of exit `answered` in hand.

    Args:
        in_one_go: for each exit, whether a frame that is promised it goes there without stopping.
    """
    first = max(0, position - 1) if answered is None else max(position - 1, answered + 1)
    open_heads = range(first, profile.exits)
    alone: list[tuple[int, ...]] = [(t,) for t in open_heads]
    if mode == 'contract':
        sets = alone
    elif mode == 'interruptible':
        sets = [tuple(range(first, t + 1)) for t in open_heads]
    else:
        sets = alone + [(early, t) for t in open_heads for early in range(first, t)]
    completions: dict[tuple[int, ...], tuple[int, float, int]] = {}

    def complete(heads: tuple[int, ...]) -> int:
        """The index of being done with the last of `heads` after the others."""
        if heads not in completions:
            cost = max(profile.expected(position, heads), LEAST_COST)
            if len(heads) > 1:  # more heads are never done earlier, whatever two medians say
                cost = max(cost, completions[heads[-1:]][1], completions[heads[:-1]][1])
            stages = max(0, heads[-1] + 1 - position)
            one_go = len(heads) == 1 and position == 0 and (mode == 'contract' or in_one_go[heads[0]])
            completions[heads] = (stages, cost, 1 if one_go else max(1, stages))
        return list(completions).index(heads)

    for heads in alone:
        complete(heads)
    options = []
    for heads in sets:
        reached = 0.0 if answered is None else accuracies[answered]
        gains = []
        for number, head in enumerate(heads, start=1):
            gain = max(0.0, accuracies[head] - reached)
            reached += gain
            gains.append((complete(heads[:number]), gain))
        most = sum(gain for _, gain in gains)
        gamble = len(heads) > 1 or answered is not None
        options.append(Option(most, heads, tuple(gains), gamble, heads[0] - first, heads[-1] - first))
    options.sort(key=lambda option: -option.most)
    starts = 1 if mode == 'interruptible' else len(open_heads)
    found = tuple(completions.values())
    return Choice(found, tuple(options), first, found[:starts])
