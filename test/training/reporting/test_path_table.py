"""training.reporting.path_table: what the table of exits, resolutions and both says."""

from __future__ import annotations

from typing import Any

import pytest

from training.reporting.path_table import path_markdown, path_summary


def run(
    accuracies: list[float], validated: list[float] | None = None, seconds: float = 10.0
) -> dict[str, Any]:
    """Paths that cost 1, 2, ... up to 4 million MACs; the last one is the whole network."""
    count = len(accuracies)
    paths = [
        {
            'resolution': 32,
            'exit_index': k,
            'macs': 1e6 * (4 - count + k + 1),
            'accuracy': accuracy,
            'validation_accuracy': (validated or accuracies)[k],
        }
        for k, accuracy in enumerate(accuracies)
    ]
    effort = {'processed_pictures': 30, 'processed_macs': 3e12, 'epochs': 4, 'seconds': seconds}
    return {'paths': paths, 'pictures': 100, **effort}


RUNS = {
    'exits-uniform': {0: run([0.6, 0.8]), 1: run([0.6, 0.84])},
    'both-uniform': {0: run([0.3, 0.5, 0.7, 0.8], seconds=20.0)},
    'both-late': {0: run([0.2, 0.4, 0.7, 0.9], seconds=30.0)},
}


def test_the_expected_accuracy_is_the_planners_choice_and_differences_are_paired_by_seed() -> None:
    found = path_summary(RUNS)
    # Uniform budgets reach 4.8: every path but the last answers a share of 1 / 4.8, the last one 0.8 / 4.8.
    both = (0.3 + 0.5 + 0.7 + 0.8 * 0.8) / 4.8
    exits = [(0.6 + 0.8 * accuracy) / 4.8 for accuracy in (0.8, 0.84)]
    expected = found['trained for the distribution']['uniform']
    assert expected['both'] == {'mean': pytest.approx(100 * both), 'sd': 0.0, 'seeds': 1}
    assert expected['exits']['mean'] == pytest.approx(100 * sum(exits) / 2)
    assert expected['exits']['seeds'] == 2
    difference = found['both less']['uniform']
    assert difference == {'exits': {'mean': pytest.approx(100 * (both - exits[0])), 'sd': 0.0, 'seeds': 1}}


def test_the_choice_is_by_validation_accuracies_and_what_counts_is_the_other() -> None:
    found = path_summary({'exits-uniform': {0: run([0.9, 0.5], validated=[0.5, 0.6])}})
    expected = found['trained for the distribution']['uniform']['exits']['mean']
    assert expected == pytest.approx(100 * (0.9 + 0.8 * 0.5) / 4.8)
    dominated = path_summary({'exits-uniform': {0: run([0.9, 0.5], validated=[0.6, 0.6])}})
    assert dominated['paths chosen']['uniform'] == {'exits': 1}
    assert dominated['trained for the distribution']['uniform']['exits']['mean'] == pytest.approx(
        100 * 0.9 * 1.8 / 4.8
    )


def test_networks_trained_for_uniform_budgets_are_counted_under_all_distributions() -> None:
    found = path_summary(RUNS)
    assert set(found['trained for uniform budgets']['early']) == {'exits', 'both'}
    assert found['trained for the distribution']['early'] == {}
    assert found['trained for the distribution']['late']['both']['mean'] > 0
    assert found['effort']['both']['seconds'] == 25.0


def test_the_tables_have_a_cell_for_what_there_is_and_a_dash_for_what_is_not() -> None:
    text = path_markdown(path_summary(RUNS))
    assert '| exits | 26.17 ± 0.47 (2) | – | – | – | – |' in text
    assert '| paths of both | 4.0 | – | – | 4.0 | – |' in text
    assert '| both | 30 | 3.00 T | 4 | 25 |' in text
    assert '| both | – | – | – | – | – |' in path_markdown(path_summary({}))
