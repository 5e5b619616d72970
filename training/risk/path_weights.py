"""What each path counts in joint training: how often budgets end there.

Paths are numbered r * T + t: exit t of T at the resolution of index r, the smallest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from impatient_ros.budgets import BudgetDistribution
from impatient_ros.network import ImpatientNetwork
from training.risk.costs import path_costs
from training.risk.expected_accuracy import chosen_share, distribution_of, plain_share
from training.risk.loaded_budgets import LoadedBudgets
from training.risk.options import RiskOptions

__all__ = ['BudgetedPaths', 'of_last_exits', 'within_exits']


@dataclass(frozen=True)
class BudgetedPaths:
    """The costs of all paths [R * T], of `exits` exits at each resolution, and the budgets' distribution."""

    distribution: BudgetDistribution
    costs: tuple[float, ...]
    exits: int

    @classmethod
    def of(cls, networks: Sequence[ImpatientNetwork], options: RiskOptions) -> BudgetedPaths:
        """For the network at each resolution, ascending. Raises ValueError, OSError."""
        costs = path_costs(networks, options.costs, options.mode, options.overhead)
        distribution, unit = distribution_of(options.budgets, costs[-1])
        if unit == 's' and options.costs == 'macs':
            raise ValueError(
                f'{options.budgets} has budgets in seconds: write model.risk.costs, too (measured, a '
                'latency profile, or seconds per exit)'
            )
        if isinstance(distribution, LoadedBudgets) and options.overhead:
            raise ValueError(
                f'{options.budgets} knows the overhead of its robot: leave out model.risk.overhead'
            )
        paths = cls(distribution, costs, len(networks[0].exits))
        if not any(paths.plain_share()[1:]):
            raise ValueError(
                f'no budget of {options.budgets} reaches even the first exit, which costs '
                f'{min(costs):g}: are they in the unit of model.risk.costs?'
            )
        return paths

    def plain_share(self) -> tuple[float, ...]:
        """How often each path answers by the plain rule, the deepest exit that fits: accuracies are not known
        before training. [R * T + 1], "no answer" first.
        """
        return tuple(plain_share(self.distribution, self.costs, self.exits).tolist())

    def chosen_share(self, accuracies: Sequence[float]) -> tuple[float, ...]:
        """How often the planner chooses each path, [R * T + 1], now that accuracies [R * T] are known."""
        return tuple(chosen_share(self.distribution, self.costs, accuracies).tolist())


def of_last_exits(weights: torch.Tensor) -> torch.Tensor:
    """Weights [R, T] where only the last exit counts, at each resolution as much as the resolution does."""
    counting = torch.zeros_like(weights)
    counting[:, -1] = weights.sum(1) / weights.sum()
    return counting


def within_exits(weights: torch.Tensor) -> torch.Tensor:
    """Weights [R, T] of each exit's resolutions among themselves, which sum to 1 for every exit."""
    exits = weights.sum(0)
    return torch.where(exits > 0, weights / exits, 1 / len(weights))
