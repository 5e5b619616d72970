"""training.reporting.finding: what a report says first."""

from __future__ import annotations

from typing import Any

from training.reporting.finding import finding


def evaluation(expected: dict[str, float], single: dict[str, float], **more: Any) -> dict[str, Any]:
    exits = [
        {'accuracy': 0.50, 'macs': 10.0},
        {'accuracy': 0.795, 'macs': 40.0},
        {'accuracy': 0.80, 'macs': 100.0},
        {'accuracy': 0.99, 'macs': 1.0, 'trained': False},
    ]
    return {'expected_accuracy': expected, 'best_single_exit': single, 'exits': exits, **more}


def test_it_is_about_the_budgets_that_were_trained_for_and_names_every_rival() -> None:
    trained = {'budgets': 'early over 0 to 1.2 of the last cost, costs in MACs'}
    expected = {'uniform': 0.6, 'early': 0.5}
    model = evaluation(expected, {'early': 0.45}, provenance=trained, pictures=2500)
    others = [
        evaluation({'early': 0.512}, {}),
        evaluation({'uniform': 0.9}, {}),
        evaluation({'early': 0.5}, {}),
    ]
    assert finding(model, others, ['plain', 'elsewhere', 'twin']) == (
        'Under early budgets 50.0% of the frames are expected to get a right answer: 5.0 points more than '
        'with its best single exit, 1.2 points less than with plain, as many as with twin. 40% of the '
        'multiply-accumulates give 79.5%, the best path 80.0%. 2,500 pictures: one accuracy is known to '
        'about ±2.0 points.'
    )


def test_of_a_network_with_one_path_only_the_expected_accuracy_is_said() -> None:
    model = evaluation({'run/robot.yaml': 0.7}, {}) | {'exits': [{'accuracy': 0.8, 'macs': 1.0}]}
    said = 'Under robot budgets 70.0% of the frames are expected to get a right answer.'
    assert finding(model, [], []) == said
    # A plain network: its other exit was not trained, whatever it says.
    rows = [{'exit_index': t, 'macs': m, 'accuracy': a} for t, m, a in ((0, 0.5, 0.799), (1, 1.0, 0.8))]
    exits = [{**rows[0], 'trained': False}, {**rows[1], 'trained': True}]
    assert finding(model | {'exits': exits, 'paths': rows}, [], []) == said


def test_that_the_dearest_path_alone_is_best_is_not_told() -> None:
    exits = [{'accuracy': 0.5, 'macs': 1.0}, {'accuracy': 0.8, 'macs': 2.0}]
    assert 'multiply-accumulates' not in finding(evaluation({'uniform': 0.7}, {}) | {'exits': exits}, [], [])


def test_at_several_resolutions_all_paths_count() -> None:
    rows = [
        {'exit_index': 0, 'macs': m, 'accuracy': a, 'resolution': px}
        for px, m, a in ((16, 25.0, 0.795), (32, 100.0, 0.8))
    ]
    model = evaluation({'uniform': 0.5}, {'uniform': 0.48}, paths=rows) | {'exits': rows[1:]}
    model['expected_accuracy_of_paths'] = {'uniform': 0.66}
    assert finding(model, [], []) == (
        'Under uniform budgets 66.0% of the frames are expected to get a right answer: 18.0 points more than '
        'with its best single exit. 25% of the multiply-accumulates give 79.5%, the best path 80.0%.'
    )


def test_a_rival_counts_with_all_of_its_paths() -> None:
    rival = evaluation({'uniform': 0.3}, {}) | {'expected_accuracy_of_paths': {'uniform': 0.58}}
    said = finding(evaluation({'uniform': 0.6}, {}), [rival], ['before'])
    assert '2.0 points more than with before' in said
