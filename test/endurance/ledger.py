"""The accounting of an endurance run, to the frame.

What a camera published is compared with the frame_status messages that came and with the node's own counts.
Between two marks every frame is exactly one of

- recorded: one frame_status carries its frame_id (frames without a readable header are counted);
- not received: a later frame of the same camera process was recorded. The node must have counted it, but
  where several processes published, or seemed to: there it counts none, since a sequence number does not say
  whose it is (`uncertain`);
- at an edge: published before the first or after the last recorded frame of a camera process or of a time in
  which the node was active. Nobody can know of it but the camera;
- open: published after the last recorded frame; the next mark decides.

The difference is how many frames, records and counts do not fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ['Balance', 'Counts', 'Ledger', 'Published']


@dataclass(frozen=True)
class Published:
    """A frame that a camera published; `time` in seconds of the steady clock."""

    incarnation: int
    number: int
    time: float
    readable: bool = True

    @property
    def identity(self) -> str:
        """Its frame_id."""
        return f'{self.incarnation}.{self.number}'


@dataclass(frozen=True)
class Counts:
    """The node's own, from its diagnostics."""

    frames: int = 0
    not_received: int = 0


@dataclass
class Balance:
    """What became of the frames between two marks."""

    published: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    not_received: int = 0
    uncertain: int = 0  # of these: the node need not have counted them
    edge: int = 0
    discarded: int = 0  # of these: counted by the node, whose publisher ended before the record was sent
    uncompared: int = 0  # of those not received: the node's counts were reset meanwhile
    difference: int = 0
    faults: list[str] = field(default_factory=list)  # what the difference is made of

    def add(self, other: Balance) -> None:
        for name in (
            'published',
            'not_received',
            'uncertain',
            'edge',
            'discarded',
            'uncompared',
            'difference',
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.outcomes += other.outcomes
        self.faults += other.faults

    def differ(self, count: int, text: str) -> None:
        if count:
            self.difference += abs(count)
            self.faults.append(text)


class Ledger:
    """One camera's. Not thread-safe."""

    def __init__(self) -> None:
        self._open: list[Published] = []
        self._statuses: list[tuple[str, str]] = []  # frame_id, outcome
        self._seen: set[int] = set()  # incarnations with a record since the node became active
        self._counts: Counts | None = Counts()

    def published(self, frame: Published) -> None:
        self._open.append(frame)

    def recorded(self, frame_id: str, outcome: str) -> None:
        self._statuses.append((frame_id, outcome))

    def settled(self) -> bool:
        """Whether the latest frame is recorded."""
        return bool(self._open) and self._open[-1].identity in {name for name, _ in self._statuses}

    def agrees(self, counts: Counts) -> bool:
        """Whether the node counts as many frames as it sent records."""
        return self._counts is None or counts.frames - self._counts.frames == len(self._statuses)

    def activated(self) -> None:
        """The node is about to become active: it counts anew, and knows of nothing that was published."""
        self._open.clear()
        self._seen.clear()
        self._counts = Counts()

    def counts_reset(self) -> None:
        """The node counts anew, at an instant that nobody knows."""
        self._counts = None

    def mark(
        self,
        counts: Counts,
        *,
        running: int | None,
        uncertain: Sequence[tuple[float, float]] = (),
        deactivated: float | None = None,
    ) -> Balance:
        """Balance what happened since the mark before.

        Args:
            counts: the node's own, of now.
            running: the incarnation that still publishes.
            uncertain: times in which the node need not have counted what it did not receive.
            deactivated: when the node ended its publishers: later frames are no one's, and what is open will
                not be decided any more.
        """
        inactive = deactivated is not None
        if deactivated is not None:
            self._open = [frame for frame in self._open if frame.time <= deactivated]
        balance = Balance(outcomes=Counter(outcome for _, outcome in self._statuses))
        names = Counter(name for name, _ in self._statuses if name)
        headless = sum(not name for name, _ in self._statuses)
        known = {frame.identity for frame in self._open}
        for name, count in names.items():
            balance.differ(count - 1, f'{name} has {count} records')
            balance.differ(int(name not in known), f'{name} is recorded and was not published, or before')
        lost, still_open = self._sort(names, None if inactive else running, balance)
        unreadable = sum(not frame.readable for frame in self._open) - sum(not f.readable for f in still_open)
        balance.published = len(self._open) - len(still_open)
        lost = self._without_recorded(lost, headless, unreadable, balance)
        balance.not_received = len(lost)
        balance.uncertain = sum(any(a <= f.time <= b for a, b in uncertain) for f in lost)
        self._compare(balance, counts, inactive)
        self._open, self._statuses, self._counts = still_open, [], counts
        return balance

    def _sort(
        self, names: Counter[str], running: int | None, balance: Balance
    ) -> tuple[list[Published], list[Published]]:
        """What was not received, as far as it has no record of its own, and what stays open."""
        lost: list[Published] = []
        still_open: list[Published] = []
        for incarnation in dict.fromkeys(frame.incarnation for frame in self._open):
            frames = [frame for frame in self._open if frame.incarnation == incarnation]
            recorded = [i for i, frame in enumerate(frames) if frame.identity in names]
            last = recorded[-1] if recorded else -1
            first = 0 if incarnation in self._seen else recorded[0] if recorded else 0
            balance.edge += first
            lost += [frame for frame in frames[first : last + 1] if frame.identity not in names]
            if incarnation == running:
                still_open += frames[last + 1 :]
            else:
                balance.edge += len(frames) - last - 1
            if recorded:
                self._seen.add(incarnation)
        return lost, still_open

    @staticmethod
    def _without_recorded(
        lost: list[Published], headless: int, unreadable: int, balance: Balance
    ) -> list[Published]:
        """Records without a frame_id belong to frames without a readable header; which, nobody knows."""
        balance.differ(
            max(headless - unreadable, 0), f'{headless} records of {unreadable} frames without a header'
        )
        candidates = [frame for frame in lost if not frame.readable]
        taken = {frame.identity for frame in candidates[:headless]}
        at_edge = min(max(headless - len(candidates), 0), balance.edge)
        balance.edge -= at_edge
        return [frame for frame in lost if frame.identity not in taken]

    def _compare(self, balance: Balance, counts: Counts, deactivated: bool) -> None:
        if self._counts is None:
            balance.uncompared = balance.not_received
            return
        frames = counts.frames - self._counts.frames - balance.outcomes.total()
        lost = counts.not_received - self._counts.not_received
        # After the node's publishers ended it may have counted frames whose records were never sent.
        if deactivated:
            balance.discarded = min(max(frames, 0), balance.edge)
            balance.edge -= balance.discarded
            frames -= balance.discarded
        balance.differ(frames, f'the node counts {frames} frames more than it sent records')
        least = balance.not_received - balance.uncertain
        most = balance.not_received + (balance.edge if deactivated else 0)
        beyond = min(lost - least, 0) or max(lost - most, 0)
        wanted = f'{least}' if least == most else f'{least} to {most}'
        balance.differ(beyond, f'the node counts {lost} frames as not received, right are {wanted}')
