"""What a robot's frames say of a checkpoint's paths: predicted and real shares, and what would pay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from impatient_ros.budgets import BudgetDistribution, Empirical
from impatient_ros.perception.path_text import path_text
from training.recorded.frames import RecordedFrames
from training.recorded.ladders import additions, best_ladders, between, smallest_sufficient
from training.recorded.load_model import LoadModel, real_shares
from training.risk.expected_accuracy import chosen_share, expected_accuracy

__all__ = ['RobotPaths', 'judged', 'what_pays']

PAYS = 1e-3  # expected accuracy, 0.1 points: less than what accuracies are measured to
# Expected accuracy that a network trained for the right weights has more than one trained for others: 0.1 to
# 0.5 points in this project's experiments (training/README.md).
RETRAINING = (0.001, 0.005)


@dataclass(frozen=True)
class RobotPaths:
    """K paths of a checkpoint on a robot: (resolution in px, exit), costs in s, accuracies; `chance` is the
    accuracy of guessing.
    """

    paths: tuple[tuple[int, int], ...]
    costs: tuple[float, ...]
    accuracies: tuple[float, ...]
    chance: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """For people."""
        sides, exits = {side for side, _ in self.paths}, {exit_index for _, exit_index in self.paths}
        return tuple(
            path_text(side, exit_index, resolutions=len(sides), exits=len(exits))
            for side, exit_index in self.paths
        )


def judged(name: str, frames: RecordedFrames, model: LoadModel, robot: RobotPaths) -> dict[str, Any]:
    """Shares of no answer and of each path [K + 1]: predicted from budgets and slowdowns, as they were, and
    predicted from the budgets alone; plain values.
    """
    predicted = chosen_share(model.budgets(frames), model.costs(robot.costs), robot.accuracies)
    alone = chosen_share(Empirical(frames.budgets), robot.costs, robot.accuracies)
    real = real_shares(frames, robot.paths)
    return {
        'name': name,
        'frames': len(frames.records),
        'predicted': predicted.tolist(),
        'real': real.tolist(),
        'budgets_alone': alone.tolist(),
        'worst': float(np.abs(predicted - real).max()),
        'worst_budgets_alone': float(np.abs(alone - real).max()),
    }


def what_pays(
    distribution: BudgetDistribution, model: LoadModel, robot: RobotPaths, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """What retraining, other exits and other resolutions are worth, in expected accuracy; plain values."""
    costs, accuracies = model.costs(robot.costs), robot.accuracies
    share = chosen_share(distribution, costs, accuracies)
    worth = expected_accuracy(share, accuracies)
    ladders = best_ladders(distribution, costs, accuracies)
    fewest = smallest_sufficient(ladders, PAYS)
    more = additions(distribution, costs, accuracies, robot.chance)
    others = [each[:2] for each in between(costs, accuracies, robot.chance)]
    all_costs = [*costs, *(cost for cost, _ in others)]
    all_accuracies = [*accuracies, *(accuracy for _, accuracy in others)]
    anew = best_ladders(distribution, all_costs, all_accuracies)
    placed = anew[min(len(fewest.paths), len(anew)) - 1]
    trained = _trained_for(provenance, len(costs))
    return {
        'expected_accuracy': worth,
        'share': share.tolist(),
        'without_answer': float(share[0]),
        'ladders': [asdict(each) for each in ladders],
        'sufficient': asdict(fewest),
        'dropped': [k for k in range(len(costs)) if k not in fewest.paths],
        'additions': [asdict(each) for each in more],
        'placed_anew': {
            'worth': placed.worth,
            'gain': placed.worth - fewest.worth,
            'paths': [
                {'cost': all_costs[k], 'accuracy': all_accuracies[k], 'path': k if k < len(costs) else None}
                for k in placed.paths
            ],
        },
        'retraining': {
            # If every path were as accurate as the best one: no training of the same paths brings more.
            'at_most': float(1 - share[0]) * max(accuracies) - worth,
            'experience': RETRAINING,
            'moved': None if trained is None else float(np.abs(share - trained).sum() / 2),
        },
    }


def _trained_for(provenance: Mapping[str, Any], paths: int) -> np.ndarray | None:
    """The shares that a checkpoint of training.train was weighted by, [K + 1]; None where it does not say."""
    text = re.search(r'no answer and each exit[^:]*:((?: [\d.]+)+)$', str(provenance.get('budgets', '')))
    shares = np.array([float(word) for word in text[1].split()]) if text else np.array([])
    return shares if len(shares) == paths + 1 else None
