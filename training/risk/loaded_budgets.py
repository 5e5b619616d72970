"""Budgets as a machine under load leaves them to the network: less its overhead, over its slowdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from impatient_ros.budgets import BudgetDistribution, Empirical

__all__ = ['KIND', 'LoadedBudgets']

KIND = 'loaded'  # its name in files


@dataclass(frozen=True)
class LoadedBudgets(BudgetDistribution):
    """Of each frame the budget b, the overhead o and the slowdown s; a path of cost c fits where

        o + s c <= b,

    so that the network has (b - o) / s seconds of its latency profile, 0 where nothing is left. With overhead
    0 and slowdown 1 it is the distribution `Empirical` of the budgets.

    Args:
        budgets, overheads: s, [N].
        slowdowns: against the latency profile [N], greater than 0.
        lost: share of the frames that go without an answer whatever their budget, 0..1.

    Raises:
        ValueError: lists of different lengths, or values that are none of these.
    """

    budgets: tuple[float, ...]
    overheads: tuple[float, ...]
    slowdowns: tuple[float, ...]
    lost: float = 0.0
    _left: Empirical = field(init=False, repr=False, compare=False)

    def __init__(
        self,
        budgets: Sequence[float] | np.ndarray,
        overheads: Sequence[float] | np.ndarray,
        slowdowns: Sequence[float] | np.ndarray,
        lost: float = 0.0,
    ) -> None:
        try:
            b, o, s = (np.asarray(each, dtype=np.float64) for each in (budgets, overheads, slowdowns))
            share = float(lost)
        except (TypeError, ValueError) as error:
            raise ValueError(f'loaded budgets need lists of numbers: {error}') from error
        if not b.shape == o.shape == s.shape or b.ndim != 1:
            raise ValueError('loaded budgets need as many overheads and slowdowns as budgets')
        if not (np.isfinite(s).all() and (s > 0).all() and np.isfinite(o).all() and (o >= 0).all()):
            raise ValueError('overheads must be at least 0 and slowdowns greater than 0')
        if not 0 <= share <= 1:
            raise ValueError(f'lost is {lost}: write a share between 0 and 1')
        left = Empirical(np.maximum(0.0, (b - o) / s))
        for name, values in (('budgets', b), ('overheads', o), ('slowdowns', s)):
            object.__setattr__(self, name, tuple(values.tolist()))
        object.__setattr__(self, 'lost', share)
        object.__setattr__(self, '_left', left)

    def cdf(self, budget: float) -> float:
        return self.lost * (budget >= 0) + (1 - self.lost) * self._left.cdf(budget)

    def below(self, budget: float) -> float:
        return self.lost * (budget > 0) + (1 - self.lost) * self._left.below(budget)

    def quantile(self, probability: float) -> float:
        if probability <= self.lost:
            return 0.0
        return self._left.quantile((probability - self.lost) / (1 - self.lost))

    def thinned(self, count: int) -> LoadedBudgets:
        """At most `count` of the frames, evenly over what is left of their budgets: shares of paths are then
        right to 1 / count.
        """
        b, o, s = map(np.array, (self.budgets, self.overheads, self.slowdowns))
        order = np.argsort(np.maximum(0.0, (b - o) / s), kind='stable')
        if len(order) > count:
            order = order[((np.arange(count) + 0.5) * len(order) / count).astype(int)]
        return LoadedBudgets(b[order], o[order], s[order], self.lost)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML, rounded to a microsecond and to four digits."""
        return {
            'distribution': KIND,
            'lost': round(self.lost, 6),
            **{name: [round(v, 6) for v in getattr(self, name)] for name in ('budgets', 'overheads')},
            'slowdowns': [float(f'{v:.5g}') for v in self.slowdowns],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LoadedBudgets:
        """The inverse of `to_dict`. Raises ValueError."""
        own = {key: value for key, value in values.items() if key != 'distribution'}
        try:
            return cls(**own)
        except TypeError as error:
            raise ValueError(f'distribution: {KIND} cannot be made of {sorted(own)}: {error}') from error
