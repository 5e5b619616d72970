"""Measuring a latency profile: every path timed end to end, turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from impatient_ros.planning.latency_profile import LatencyProfile, Table

__all__ = ['PAUSE', 'StagedRun', 'measure']

PAUSE = 0.004  # s before each run of a profile, as between frames


class StagedRun(Protocol):
    """One frame going through a staged network; how `measure` sees a runtime."""

    position: int  # stages executed so far

    @property
    def ready(self) -> bool:
        """Whether the scores at the current position are there already."""

    def stage(self, toward: int | None = None) -> None:
        """Execute the next stage, or all up to the scores of exit `toward` where the runtime can."""

    def exit(self) -> object:
        """Execute the head at the current position, up to scores in host memory."""

    def wait(self) -> None:
        """Return when everything launched has been executed (a device may lag behind)."""


def measure(
    starts: Sequence[Callable[[], StagedRun]],
    exits: int,
    clock: Callable[[], float],
    *,
    time_limit: float = 6.0,
    rounds: int = 60,
    min_rounds: int = 3,
    warm_up: int = 3,
    progress: Callable[[float, str], None] | None = None,
    rest: Callable[[], None] = lambda: None,
) -> list[LatencyProfile]:
    """Time every contract path and the interruptible run at every resolution, turn by turn, so that drift
    meets all of them alike. Returns one profile per resolution.

    Args:
        starts: begin a run on a preprocessed input, one per resolution; called once per run.
        exits: T.
        clock: seconds; its differences are the latencies.
        time_limit: seconds after which no further round starts (`min_rounds` are made in any case).
        progress: called with the share done (0..1) and a text.
        rest: called before each run. Frames come at a rate, and after a pause the same work takes longer:
            caches have emptied, worker threads and the processor itself have gone to sleep.
    """
    for start in starts:
        for _ in range(warm_up):
            run = start()
            for _ in range(exits):
                run.stage()
                run.exit()
    measured = [_Measured(start, exits, clock, rest) for start in starts]
    began = clock()
    for done in range(rounds):
        spent = clock() - began
        share = max(done / rounds, spent / time_limit if time_limit > 0 else 1.0)
        if done >= min_rounds and spent >= time_limit:
            break
        if progress is not None:
            progress(min(1.0, share), f'measuring latencies, round {done + 1}')
        for each in measured:
            each.round()
    if progress is not None:
        progress(1.0, 'latencies measured')
    return [LatencyProfile(each.contract, each.interruptible) for each in measured]


class _Measured:
    """The tables of one resolution; arguments as of `measure`."""

    def __init__(
        self,
        start: Callable[[], StagedRun],
        exits: int,
        clock: Callable[[], float],
        rest: Callable[[], None],
    ) -> None:
        self._start, self._exits, self._clock, self._rest = start, exits, clock, rest
        self.contract: Table = [[[] for _ in range(exits)] for _ in range(exits + 1)]
        self.interruptible: Table = [[[] for _ in range(exits)] for _ in range(exits)]

    def round(self) -> None:
        """Time every path once."""
        for target in range(self._exits):
            if self._contract_run(target, fused=True):
                self._contract_run(target, fused=False)
        self._interruptible_run()

    def _begun(self) -> StagedRun:
        self._rest()
        run = self._start()
        run.wait()
        return run

    def _contract_run(self, target: int, *, fused: bool) -> bool:
        """Time a run to one exit; returns whether the runtime made it in one call."""
        run = self._begun()
        marks = {0: self._clock()}
        while run.position <= target:
            run.stage(target if fused else None)
            # Without waiting here: a contract run on a device is launched as a whole. On a device the marks
            # of the inner boundaries therefore say when a stage was launched, and what remains includes
            # what is queued.
            marks[run.position] = self._clock()
        # A runtime may compute the last stage's scores with it in any case.
        in_one_call = fused and run.ready
        run.exit()
        end = self._clock()
        if in_one_call:  # there was no boundary on the way: this is a sample from the start only
            marks = {0: marks[0]}
        elif not fused:  # what is left after a part of the way, boundaries included
            del marks[0]
        for position, mark in marks.items():
            self.contract[position][target].append(end - mark)
        return in_one_call

    def _interruptible_run(self) -> None:
        run = self._begun()
        begins, ends = [], []
        for _ in range(self._exits):
            begins.append(self._clock())
            run.stage(run.position)
            run.exit()
            ends.append(self._clock())
        for t, end in enumerate(ends):
            for position in range(t + 1):
                self.interruptible[position][t].append(end - begins[position])
