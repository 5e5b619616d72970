"""How long the network takes on this machine: measured profiles.

A `LatencyProfile` holds measured samples of the *remaining* cost (seconds) from every stage boundary to
every exit, for the two ways to run: contract (only the target's head) and interruptible (every head on the
way). Each sample is one run timed end to end, since the cost of a path is not the sum of quantiles of its
parts. Position p means that the first p stages have been executed.

A *fused* path is stages and a head that the runtime executes in one call: without a stop at the boundaries on
the way it is cheaper, and nothing can be decided there.

How a machine differs from its profile at the moment is the subject of `impatient_ros.planning.forecast`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from impatient_ros.planning.quantile import quantile

__all__ = ['CACHE_FORMAT', 'LatencyProfile', 'Table']

CACHE_FORMAT = 1
Table = list[list[list[float]]]  # [position][exit] -> samples in seconds, empty where the path does not exist


class LatencyProfile:
    """Samples of the remaining cost in seconds, and what can be asked of them.

    Args:
        contract: `contract[p][t]`, samples from position p to the scores of exit t without any other head;
            defined for p <= t + 1 (at p = t + 1 only the head is left).
        interruptible: `interruptible[p][t]`, from position p (heads before it done) through every head up
            to t;
            defined for p <= t.

    Raises:
        ValueError: the tables' shapes do not fit together, or a defined path has no sample.
    """

    def __init__(self, contract: Table, interruptible: Table) -> None:
        self.exits = len(contract[0]) if contract else 0
        if self.exits == 0:
            raise ValueError('a latency profile needs at least one exit')
        for name, table, last in (('contract', contract, 1), ('interruptible', interruptible, 0)):
            if len(table) < self.exits + last or any(len(row) != self.exits for row in table):
                raise ValueError(f'the {name} table does not have a row per boundary and a column per exit')
            for p, row in enumerate(table):
                for t, samples in enumerate(row):
                    wrong = any(not (math.isfinite(s) and s >= 0) for s in samples)
                    if wrong or (p <= t + last and not samples):
                        raise ValueError(f'the {name} table has no usable samples from {p} to exit {t}')
        # Plain floats: NumPy's scalars make a decision 1.6 times as long.
        self._tables: dict[str, Table] = {
            'contract': [[sorted(map(float, samples)) for samples in row] for row in contract],
            'interruptible': [[sorted(map(float, samples)) for samples in row] for row in interruptible],
        }

    def quantile(self, mode: str, position: int, exit_index: int, probability: float) -> float:
        """The `probability` quantile of the remaining cost, seconds (linear between samples)."""
        return quantile(self._tables[mode][position][exit_index], probability)

    def head_cost(self, exit_index: int) -> float:
        """The median cost of one head alone, seconds."""
        return self.quantile('contract', exit_index + 1, exit_index, 0.5)

    def log_errors(self, position: int, exit_index: int) -> list[float]:
        """Logarithms of each contract run's cost from there to the exit over the median; ascending."""
        median = self.quantile('contract', position, exit_index, 0.5)
        samples = self._tables['contract'][position][exit_index]
        return [math.log(max(sample, 1e-9) / max(median, 1e-9)) for sample in samples]

    def expected_cost(self, position: int, heads: Sequence[int]) -> float:
        """Median cost in seconds of evaluating `heads` (ascending) from `position`: fused to the first one
        where the runtime can, and from each to the next.
        """
        if len(heads) > 1 and list(heads) == list(range(position, heads[-1] + 1)):
            return self.quantile('interruptible', position, heads[-1], 0.5)
        total = 0.0
        for head in heads:
            total += self.quantile('contract', position, head, 0.5)
            position = head + 1
        return total

    def cumulative_stage_costs(self) -> tuple[list[float], list[float]]:
        """Median cost of the stages alone, seconds, from the start to each boundary [T + 1]: executed in one
        call, and with a stop at every boundary.
        """
        exits = range(self.exits)
        fused = [0.0] + [max(self.quantile('contract', 0, t, 0.5) - self.head_cost(t), 1e-9) for t in exits]
        stepwise = fused[:2] + [
            fused[1] + max(self.quantile('contract', 1, t, 0.5) - self.head_cost(t), 1e-9) for t in exits[1:]
        ]
        return fused, stepwise

    def boundary_overhead(self, exit_index: int) -> float:
        """What stopping at every boundary on the way to an exit costs, as a share of the fused path's cost; 0
        where the runtime stops anyhow.
        """
        if exit_index == 0:
            return 0.0
        fused = self.quantile('contract', 0, exit_index, 0.5)
        first = self.quantile('contract', 0, 0, 0.5) - self.head_cost(0)
        return max(0.0, (first + self.quantile('contract', 1, exit_index, 0.5)) / max(fused, 1e-9) - 1)

    def costs(self, mode: str, probability: float = 0.5) -> tuple[float, ...]:
        """The cost of each exit from the preprocessed tensor on, seconds [T]."""
        return tuple(self.quantile(mode, 0, t, probability) for t in range(self.exits))

    def to_dict(self) -> dict[str, Any]:
        return {'format': CACHE_FORMAT, **self._tables}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LatencyProfile:
        """The inverse of `to_dict`.

        Raises:
            ValueError: another format, tables that do not fit, or an exit that costs nothing.
        """
        if values.get('format') != CACHE_FORMAT:
            raise ValueError(f'latency profile of format {values.get("format")!r}, this is {CACHE_FORMAT}')
        try:
            profile = cls(values['contract'], values['interruptible'])
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f'not a latency profile: {error!r}') from error
        if not all(cost > 0 for mode in profile._tables for cost in profile.costs(mode)):
            raise ValueError('not a measured latency profile: an exit costs nothing')
        return profile
