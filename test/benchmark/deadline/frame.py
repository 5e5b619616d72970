"""One frame of the benchmark: what it was allowed, what it got, what hindsight would have given it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from impatient_ros.answer import Answer
from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.checkpoint import Path
from impatient_ros.planning.latency_profile import LatencyProfile

__all__ = ['Frame', 'PlanNoted', 'budgets', 'hindsight', 'path_number']


class PlanNoted:
    """An observer of a frame: `protected` is the path that its plan protects."""

    protected: Path | None = None

    def planned(self, path: Path | None, protected: Path | None, slowdown: float) -> None:
        self.protected = protected

    def answered(self, answer: Answer) -> None:
        pass

    def completed(self, answer: Answer) -> None:
        pass


def path_number(classifier: AnytimeClassifier, resolution: int | None, exit_index: int | None) -> int:
    """r * T + t for exit t at the resolution of index r; -1 for none."""
    if resolution is None or exit_index is None:
        return -1
    return classifier.resolutions.index(resolution) * classifier.exits + exit_index


@dataclass(frozen=True)
class Frame:
    """A record; seconds, paths by `path_number`.

    Attributes:
        index: the frame's number in its run; the same number has the same budget under every policy.
        phase, loaded: of the load, when the frame began.
        path: of the answer in hand at the deadline.
        protected: whether its plan protected a path; overrun: whether that came later than planned.
        late: whether the protected path was not there at the deadline.
        slack: at the answer; where there is none in time, negative.
        hindsight: the best path that would have fitted, from the recording pass beside it.
        feasible: its cheapest path would have fitted.
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
    path: int
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
    def of(
        cls,
        classifier: AnytimeClassifier,
        answer: Answer,
        plan: PlanNoted,
        decisions: Sequence[float],
        **known: object,
    ) -> 'Frame':
        """From what the classifier says of a frame; `known` has what it does not know."""
        path = path_number(classifier, answer.resolution, answer.exit_index) if answer.met else -1
        protected = plan.protected
        return cls(
            path=path,
            planned=path_number(classifier, answer.planned_resolution, answer.planned_exit_index),
            protected=protected is not None,
            overrun=protected is not None and answer.overrun is not False,
            late=protected is not None
            and path < path_number(classifier, protected.resolution, protected.exit_index),
            slack=round(answer.slack or 0.0, 6),
            decisions_us=tuple(round(each, 1) if each < 10 else round(each) for each in decisions),
            **known,  # type: ignore[arg-type]
        )

    @classmethod
    def in_hindsight(cls, path: int, feasible: bool, slack: float, **known: object) -> 'Frame':
        """What the frame would have got if all had been known; it plans nothing and protects nothing."""
        return cls(
            path=path,
            planned=path,
            protected=False,
            overrun=False,
            late=False,
            slack=round(slack, 6),
            hindsight=path,
            feasible=feasible,
            **known,  # type: ignore[arg-type]
        )

    def to_dict(self) -> dict:
        return asdict(self)


def budgets(
    profiles: Sequence[LatencyProfile], preparation: Sequence[float], frames: int, seed: int = 1
) -> Iterator[float]:
    """Seconds for each frame: even between the p99 cost of the first path and 1.3 times that of the last;
    `preparation` is each resolution's.
    """
    costs = [profile.costs('contract', 0.99) for profile in profiles]
    source = np.random.default_rng(seed)
    low, high = preparation[0] + costs[0][0], 1.3 * (preparation[-1] + costs[-1][-1])
    for _ in range(frames):
        yield round(float(source.uniform(low, high)), 6)


def hindsight(
    preparation: Sequence[float],
    stages: Sequence[Sequence[float]],
    heads: Sequence[Sequence[float]],
    accuracies: Sequence[float],
    budget: float,
) -> tuple[int, bool, float]:
    """The best path that fits with its own head alone (-1: none), whether the cheapest one does, and the
    seconds that are left after the best one. Times are [R], [R, T] and [R, T].
    """
    ready = (np.asarray(preparation)[:, None] + np.cumsum(stages, axis=1) + np.asarray(heads)).ravel()
    fits = np.flatnonzero(ready <= budget).tolist()
    best = max(fits, key=lambda path: accuracies[path], default=-1)
    return best, bool(ready[0] <= budget), budget - float(ready[best] if fits else ready[0])
