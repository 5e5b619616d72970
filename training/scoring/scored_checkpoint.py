"""All that is said of a checkpoint on a split: exits, calibration, and expected accuracy under budgets.

The planner chooses by the checkpoint's accuracies. Where these are of the very pictures that count, that
would flatter it: then the choice is made by the accuracies of one half of the pictures and counted on the
other, both ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from impatient_ros.budgets import BudgetDistribution
from impatient_ros.checkpoint import Checkpoint
from training.data.labelled_pictures import Pictures
from training.risk.costs import exit_costs, path_costs
from training.risk.expected_accuracy import (
    best_single_exit,
    chosen_share,
    distribution_of,
    expected_accuracy,
    expected_on_halves,
)
from training.scoring.calibration import reliability
from training.scoring.classes import with_labels
from training.scoring.exit_scores import Evaluation, evaluate
from training.scoring.paths import ResolutionScores

__all__ = ['ScoredCheckpoint', 'evaluation', 'expected_over_paths', 'score']

# Accuracies that differ by no more, all of them, are taken for those of the same pictures: as much as half
# precision or another device changes. Where they are not, halves are no worse a measure.
SAME = 0.002


@dataclass(frozen=True)
class ScoredCheckpoint:
    """A checkpoint, its scores on a split, and the cost of each exit in the unit asked for."""

    checkpoint: Checkpoint
    scores: Evaluation
    costs: tuple[float, ...]

    @property
    def trained(self) -> tuple[int, ...]:
        """The exits (0-based) that were trained; all where the checkpoint does not say."""
        own = self.checkpoint.provenance.get('trained_exits')
        return tuple(own) if own else tuple(range(len(self.costs)))


def score(
    checkpoint: Checkpoint, pictures: Pictures, costs: str = 'macs', mode: str = 'contract'
) -> ScoredCheckpoint:
    """Run the pictures through the network. Raises ValueError where it lacks one of their classes."""
    pictures = with_labels(pictures, checkpoint.labels, 'the checkpoint')
    seconds = exit_costs(checkpoint.network, costs, mode)
    return ScoredCheckpoint(
        checkpoint, evaluate(checkpoint.network, pictures, checkpoint.preprocessing), seconds
    )


def evaluation(
    model: ScoredCheckpoint, budgets: Sequence[str], fixed: Mapping[str, ScoredCheckpoint] | None = None
) -> dict[str, Any]:
    """All measurements, ready for JSON; `training/README.md` explains the keys. Raises ValueError."""
    checkpoint, scores = model.checkpoint, model.scores
    temperatures, accuracies = checkpoint.temperatures, scores.accuracies
    result: dict[str, Any] = {
        'exits': [
            {
                'accuracy': accuracies[t],
                'ece': after,
                'ece_uncalibrated': before,
                'nll': scores.negative_log_likelihoods(temperatures)[t],
                'nll_uncalibrated': scores.negative_log_likelihoods()[t],
                'macs': checkpoint.network.costs('contract')[t],
                'cost': model.costs[t],
                'validation_accuracy': checkpoint.accuracies[t],
                'temperature': temperatures[t],
                'trained': t in model.trained,
                'class_accuracy': scores.class_accuracies()[t],
                'reliability': reliability(scores.logits[t], scores.target, temperatures[t]),
                'reliability_uncalibrated': reliability(scores.logits[t], scores.target),
            }
            for t, (before, after) in enumerate(
                zip(scores.calibration_errors(), scores.calibration_errors(temperatures), strict=True)
            )
        ],
        'expected_accuracy': {},
        'exit_share': {},
        'best_single_exit': {},
        'best_single_exit_index': {},
        'monotonicity': scores.monotonicity(temperatures),
        'chosen_on_halves': _same(
            [checkpoint.accuracies[t] for t in model.trained], [accuracies[t] for t in model.trained]
        ),
    }
    if fixed:
        result |= {'best_fixed': {}, 'best_fixed_name': {}}
    for name in budgets:
        distribution, _ = distribution_of(name, model.costs[-1])
        result['exit_share'][name] = _share(model, distribution)
        trained = model.trained
        result['expected_accuracy'][name] = _expected(
            distribution,
            [model.costs[t] for t in trained],
            [checkpoint.accuracies[t] for t in trained],
            scores.right.numpy()[list(trained)],
        )
        best, index = best_single_exit(
            distribution, [model.costs[t] for t in trained], [accuracies[t] for t in trained]
        )
        result['best_single_exit'][name], result['best_single_exit_index'][name] = best, trained[index]
        if fixed:
            # Budgets do not depend on the network: all are compared under the distribution of `model`.
            values = {key: _fixed_accuracy(other, distribution) for key, other in fixed.items()}
            winner = max(values, key=values.__getitem__)
            result['best_fixed'][name], result['best_fixed_name'][name] = values[winner], winner
    return result


def expected_over_paths(
    model: ScoredCheckpoint,
    found: Sequence[ResolutionScores],
    budgets: Sequence[str],
    costs: str = 'macs',
    mode: str = 'contract',
) -> dict[str, Any]:
    """`expected_accuracy_of_paths`: where the planner's rule chooses among all paths, by the checkpoint's
    accuracies; with resolutions that it does not have by those of the other half of these pictures, which
    `paths_chosen_on_halves` says.
    """
    network, own = model.checkpoint.network, found[-1].side
    networks = [network if each.side == own else network.at(each.side) for each in found]
    own_costs = path_costs(networks, costs, mode)
    known = {each.side: each.accuracies for each in model.checkpoint.resolutions}
    trained = [r * len(model.costs) + t for r in range(len(found)) for t in model.trained]
    right = np.concatenate([each.scores.right.numpy() for each in found])[trained]
    believed = None
    if all(each.side in known for each in found):
        stated = [accuracy for each in found for accuracy in known[each.side]]
        believed = [stated[k] for k in trained]
    return {
        'expected_accuracy_of_paths': {
            name: _expected(
                distribution_of(name, model.costs[-1])[0], [own_costs[k] for k in trained], believed, right
            )
            for name in budgets
        },
        'paths_chosen_on_halves': believed is None or _same(believed, right.mean(1).tolist()),
    }


def _same(believed: Sequence[float], measured: Sequence[float]) -> bool:
    return all(abs(a - b) <= SAME for a, b in zip(believed, measured, strict=True))


def _expected(
    distribution: BudgetDistribution,
    costs: Sequence[float],
    believed: Sequence[float] | None,
    right: np.ndarray,
) -> float:
    """Where the rule chooses by the accuracies `believed`, or by those of the other half of the pictures
    where nothing is believed or it is of these pictures. `right`: bool [K, N].
    """
    if believed is not None and not _same(believed, right.mean(1).tolist()):
        return expected_accuracy(chosen_share(distribution, costs, believed), right.mean(1))
    return expected_on_halves(distribution, costs, right)


def _share(model: ScoredCheckpoint, distribution: BudgetDistribution) -> list[float]:
    """How often the planner chooses "no answer" and each exit; it never chooses an untrained one."""
    trained = model.trained
    shares = chosen_share(
        distribution, [model.costs[t] for t in trained], [model.checkpoint.accuracies[t] for t in trained]
    ).tolist()
    share = [shares[0]] + [0.0] * len(model.costs)
    for t, value in zip(trained, shares[1:], strict=True):
        share[t + 1] = value
    return share


def _fixed_accuracy(fixed: ScoredCheckpoint, distribution: BudgetDistribution) -> float:
    """The expected accuracy of a network that always answers with its deepest trained exit."""
    t = max(fixed.trained)
    return (1 - distribution.below(fixed.costs[t])) * fixed.scores.accuracies[t]
