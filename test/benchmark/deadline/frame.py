"""One frame of the benchmark: what it was allowed, what it got, what hindsight would have given it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from impatient_ros.answer import Answer
from impatient_ros.planning.latency_profile import LatencyProfile

__all__ = ['Frame', 'budgets', 'hindsight']


@dataclass(frozen=True)
class Frame:
    """A record; seconds, exits 0-based, -1 for none.

    Attributes:
        index: the frame's number in its run; the same number has the same budget under every policy.
        phase, loaded: of the load, when the frame began.
        exit_index: of the answer in hand at the deadline.
        protected: whether its plan protected an exit; overrun: whether that came later than planned.
        late: whether the protected exit was not there at the deadline.
        slack: at the answer; where there is none in time, negative.
        hindsight: the best exit that would have fitted, from the recording pass beside it.
        feasible: its first exit would have fitted.
        decisions_us: processor time of each decision on its way.
        bystanders: cores that strangers kept busy meanwhile.
    """

    model: str
    policy: str
    load: str
    index: int
    phase: int
    loaded: bool
    budget: float
    exit_index: int
    planned: int
    protected: bool
    overrun: bool
    late: bool
    slack: float
    hindsight: int
    feasible: bool
    decisions_us: tuple[float, ...] = ()
    bystanders: float = 0.0

    @classmethod
    def of(cls, answer: Answer, decisions: Sequence[float], **known: object) -> 'Frame':
        """From what the classifier says of a frame; `known` has what it does not know."""
        exit_index = answer.exit_index if answer.met and answer.exit_index is not None else -1
        protected = answer.protected_exit_index
        return cls(
            exit_index=exit_index,
            planned=-1 if answer.planned_exit_index is None else answer.planned_exit_index,
            protected=protected is not None,
            overrun=protected is not None and answer.overrun is not False,
            late=protected is not None and exit_index < protected,
            slack=round(answer.slack or 0.0, 6),
            decisions_us=tuple(round(each, 1) if each < 10 else round(each) for each in decisions),
            **known,  # type: ignore[arg-type]
        )

    @classmethod
    def in_hindsight(cls, exit_index: int, feasible: bool, slack: float, **known: object) -> 'Frame':
        """What the frame would have got if all had been known; it plans nothing and protects nothing."""
        return cls(
            exit_index=exit_index,
            planned=exit_index,
            protected=False,
            overrun=False,
            late=False,
            slack=round(slack, 6),
            hindsight=exit_index,
            feasible=feasible,
            **known,  # type: ignore[arg-type]
        )

    def to_dict(self) -> dict:
        return asdict(self)


def budgets(profile: LatencyProfile, preparation: float, frames: int, seed: int = 1) -> Iterator[float]:
    """Seconds for each frame: even between the p99 cost of the first exit and 1.3 times that of the last."""
    costs = profile.costs('contract', 0.99)
    source = np.random.default_rng(seed)
    low, high = preparation + costs[0], 1.3 * (preparation + costs[-1])
    for _ in range(frames):
        yield round(float(source.uniform(low, high)), 6)


def hindsight(
    preparation: float,
    stages: Sequence[float],
    heads: Sequence[float],
    accuracies: Sequence[float],
    budget: float,
) -> tuple[int, bool, float]:
    """The best exit that fits with its own head alone (-1: none), whether the first one fits, and the seconds
    that are left after the best one.
    """
    ready = preparation + np.cumsum(stages) + np.asarray(heads)
    fits = [t for t, instant in enumerate(ready) if instant <= budget]
    best = max(fits, key=lambda t: accuracies[t], default=-1)
    return best, bool(ready[0] <= budget), budget - float(ready[best] if fits else ready[0])
