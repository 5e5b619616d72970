"""What the budgets of a robot look like, and how much each exit counts under them.

A `BudgetDistribution` is p(b), b in seconds. `exit_weights` turns it into the weights of the training risk

    R = E_b[loss(f(x, b), y)] = const + sum_t w_t loss_t,    w_t = P(c_t <= b < c_{t+1}),

where c_t is the cost (latency, seconds) of exit t: the share of the budgets that end at exit t under the
plain rule "deepest exit that fits". Costs in any other unit (MACs) work as well, as long as the
distribution uses it too.

Source: Amthor, Rodner, Denzler, "Impatient DNNs - Deep Neural Networks with Dynamic Time Budgets", BMVC 2016.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np

__all__ = [
    'NAMED_DISTRIBUTIONS',
    'Bimodal',
    'BudgetDistribution',
    'Early',
    'Empirical',
    'Late',
    'Normal',
    'Uniform',
    'distribution_from_dict',
    'exit_weights',
    'named_distribution',
]

# The named distributions live on [0, SUPPORT * c_T]: some budgets exceed the cost of the last exit.
SUPPORT = 1.2


class BudgetDistribution(ABC):
    """A distribution of budgets in seconds; budgets are never negative."""

    @abstractmethod
    def cdf(self, budget: float) -> float:
        """P(b <= budget)."""

    def below(self, budget: float) -> float:
        """P(b < budget); differs from `cdf` only where single budgets have mass."""
        return self.cdf(budget)

    @abstractmethod
    def quantile(self, probability: float) -> float:
        """The smallest budget whose cdf reaches `probability`."""

    def sample(self, count: int, seed: int | np.random.Generator = 0) -> np.ndarray:
        """`count` budgets, float64 [count], by inversion of the cdf."""
        uniform = np.random.default_rng(seed).random(count)
        return np.array([self.quantile(float(u)) for u in uniform])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML or JSON; `distribution_from_dict` reads them back."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {
            'distribution': type(self).__name__.lower(),
            **{k: list(v) if isinstance(v, tuple) else v for k, v in own.items()},
        }


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f'{name} is {value!r}; give a finite number greater than 0')


@dataclass(frozen=True)
class Uniform(BudgetDistribution):
    """All budgets between `low` and `high` (seconds) are equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (0 <= self.low < self.high < math.inf):
            raise ValueError(f'Uniform needs 0 <= low < high, got low={self.low!r}, high={self.high!r}')

    def cdf(self, budget: float) -> float:
        return min(1.0, max(0.0, (budget - self.low) / (self.high - self.low)))

    def quantile(self, probability: float) -> float:
        return self.low + probability * (self.high - self.low)


@dataclass(frozen=True)
class Normal(BudgetDistribution):
    """A normal distribution truncated to [`low`, `high`]; all in seconds."""

    mean: float
    sd: float
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        _check_positive('sd', self.sd)
        if not 0 <= self.low < self.high:
            raise ValueError(f'Normal needs 0 <= low < high, got low={self.low!r}, high={self.high!r}')
        if not self._mass > 0:
            raise ValueError(
                f'Normal({self.mean!r}, {self.sd!r}) has no mass in [{self.low!r}, {self.high!r}]'
            )

    @property
    def _plain(self) -> NormalDist:
        return NormalDist(self.mean, self.sd)

    @property
    def _mass(self) -> float:
        return self._plain.cdf(self.high) - self._plain.cdf(self.low)

    def cdf(self, budget: float) -> float:
        inside = min(self.high, max(self.low, budget))
        return min(1.0, max(0.0, (self._plain.cdf(inside) - self._plain.cdf(self.low)) / self._mass))

    def quantile(self, probability: float) -> float:
        p = self._plain.cdf(self.low) + probability * self._mass
        if not 0 < p < 1:
            return self.low if p <= 0 else self.high
        return min(self.high, max(self.low, self._plain.inv_cdf(p)))


@dataclass(frozen=True)
class Early(BudgetDistribution):
    """Mostly short budgets: density ~ exp(-3 b / c_T) on [0, 1.2 c_T]; `last_cost` is c_T."""

    last_cost: float

    def __post_init__(self) -> None:
        _check_positive('last_cost', self.last_cost)

    def cdf(self, budget: float) -> float:
        b = min(SUPPORT, max(0.0, budget / self.last_cost))
        return math.expm1(-3 * b) / math.expm1(-3 * SUPPORT)

    def quantile(self, probability: float) -> float:
        return -self.last_cost / 3 * math.log1p(probability * math.expm1(-3 * SUPPORT))


@dataclass(frozen=True)
class Late(BudgetDistribution):
    """Mostly long budgets: the mirror of `Early` on [0, 1.2 c_T]; `last_cost` is c_T."""

    last_cost: float

    def __post_init__(self) -> None:
        _check_positive('last_cost', self.last_cost)

    def cdf(self, budget: float) -> float:
        return 1.0 - Early(self.last_cost).cdf(SUPPORT * self.last_cost - budget)

    def quantile(self, probability: float) -> float:
        return SUPPORT * self.last_cost - Early(self.last_cost).quantile(1.0 - probability)


@dataclass(frozen=True)
class Bimodal(BudgetDistribution):
    """Two kinds of situation, equally likely: budgets around 0.3 c_T and around 0.9 c_T, sd 0.08 c_T each."""

    last_cost: float

    def __post_init__(self) -> None:
        _check_positive('last_cost', self.last_cost)

    @property
    def _parts(self) -> tuple[Normal, Normal]:
        c = self.last_cost
        return (
            Normal(0.3 * c, 0.08 * c, high=SUPPORT * c),
            Normal(0.9 * c, 0.08 * c, high=SUPPORT * c),
        )

    def cdf(self, budget: float) -> float:
        near, far = self._parts
        return 0.5 * (near.cdf(budget) + far.cdf(budget))

    def quantile(self, probability: float) -> float:
        # The mixture has no closed inverse; its cdf is monotone, so halving the bracket finds it.
        low, high = 0.0, SUPPORT * self.last_cost
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.cdf(middle) < probability else (low, middle)
        return high

    def sample(self, count: int, seed: int | np.random.Generator = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        near, far = (part.sample(count, random) for part in self._parts)
        return np.where(random.random(count) < 0.5, near, far)


@dataclass(frozen=True)
class Empirical(BudgetDistribution):
    """The budgets that a robot really had (`samples`, seconds); each has the same mass."""

    samples: tuple[float, ...]

    def __init__(self, samples: Sequence[float] | np.ndarray) -> None:
        values = tuple(sorted(float(s) for s in samples))
        if not values:
            raise ValueError('Empirical needs at least one budget')
        if not all(math.isfinite(v) for v in values):
            raise ValueError('Empirical budgets must be finite; leave out frames without a budget')
        object.__setattr__(self, 'samples', values)

    def cdf(self, budget: float) -> float:
        return float(np.searchsorted(self.samples, budget, side='right')) / len(self.samples)

    def below(self, budget: float) -> float:
        return float(np.searchsorted(self.samples, budget, side='left')) / len(self.samples)

    def quantile(self, probability: float) -> float:
        index = math.ceil(probability * len(self.samples)) - 1
        return self.samples[min(len(self.samples) - 1, max(0, index))]


# From the last exit's cost c_T to the distribution of that name (design: support [0, 1.2 c_T]).
NAMED_DISTRIBUTIONS: Mapping[str, Callable[[float], BudgetDistribution]] = {
    'uniform': lambda c: Uniform(0.0, SUPPORT * c),
    'normal': lambda c: Normal(0.6 * c, 0.2 * c, 0.0, SUPPORT * c),
    'early': Early,
    'late': Late,
    'bimodal': Bimodal,
}

_CLASSES: Mapping[str, type[BudgetDistribution]] = {
    kind.__name__.lower(): kind for kind in (Uniform, Normal, Early, Late, Bimodal, Empirical)
}


def named_distribution(name: str, last_cost: float) -> BudgetDistribution:
    """The distribution `name` scaled to the cost of the last exit.

    Raises:
        ValueError: no distribution has that name.
    """
    if name not in NAMED_DISTRIBUTIONS:
        raise ValueError(
            f'no budget distribution is named {name!r}; there are {", ".join(NAMED_DISTRIBUTIONS)}'
        )
    return NAMED_DISTRIBUTIONS[name](last_cost)


def distribution_from_dict(values: Mapping[str, Any]) -> BudgetDistribution:
    """The inverse of `BudgetDistribution.to_dict`.

    Raises:
        ValueError: unknown kind, or missing, surplus or impossible values.
    """
    own = dict(values)
    kind = own.pop('distribution', None)
    if kind not in _CLASSES:
        raise ValueError(f'distribution: {kind!r} is unknown; write one of {", ".join(_CLASSES)}')
    try:
        return _CLASSES[kind](**own)
    except TypeError as error:
        raise ValueError(f'distribution: {kind} cannot be made of {own}: {error}') from error


def exit_weights(distribution: BudgetDistribution, costs: Sequence[float]) -> np.ndarray:
    """How often budgets end at each exit under the plain rule (deepest exit with cost <= budget).

    Args:
        distribution: of the budgets, in the unit of `costs`.
        costs: c_1 .. c_T, of each exit; greater than 0 and strictly increasing.

    Returns:
        float64 [T + 1]: w[0] is the share of budgets below c_1 ("no answer"), then exits 1..T. Sums to 1.
        A budget equal to c_t suffices for exit t.

    Raises:
        ValueError: costs are empty, not positive, not finite, or do not increase.
    """
    c = [float(v) for v in costs]
    if not c:
        raise ValueError('costs are empty; give the cost of each exit')
    if not all(math.isfinite(v) and v > 0 for v in c):
        raise ValueError(f'costs must be finite and greater than 0, got {c}')
    if any(b <= a for a, b in pairwise(c)):
        raise ValueError(
            f'costs must increase from exit to exit, got {c}; leave out an exit that costs more than a deeper'
        )
    edges = np.array([0.0, *(distribution.below(v) for v in c), 1.0])
    return np.diff(edges)
