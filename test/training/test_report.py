"""python -m training.report: one page, whole by itself."""

from __future__ import annotations

import copy
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from training.report import main, page
from training.reporting.charts import COLOURS, Line, bars, lines, reliability_diagram, ticks

BINS = {'count': [0.0, 3.0, 7.0], 'confidence': [0.0, 0.5, 0.9], 'accuracy': [0.0, 0.4, 1.0]}
RESULT: dict[str, Any] = {
    'name': 'joint <early>',
    'pictures': 10,
    'data': 'shapes.zip',
    'split': 'test',
    'exits': [
        {'accuracy': a, 'ece': 0.02, 'ece_uncalibrated': 0.1, 'nll': 0.7, 'macs': m, 'reliability': BINS}
        for a, m in ((0.5, 1e6), (0.8, 4e6))
    ],
    'expected_accuracy': {'uniform': 0.6, 'config/robot.yaml': 0.4},
    'best_single_exit': {'uniform': 0.55, 'config/robot.yaml': 0.35},
    'monotonicity': {'falls': 0.01, 'flips': 0.03},
    'examples': {
        'late': [
            {
                'name': 'a.png',
                'label': 'disc',
                'jpeg': 'AAAA',
                'exits': [{'label': 'ring', 'confidence': 0.6}, {'label': 'disc', 'confidence': 0.9}],
            }
        ]
    },
    'provenance': {'command': 'python -m training.train fit', 'seed': 3},
}


class Reader(HTMLParser):
    """Collects texts and whatever a page would load from elsewhere; fails on tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value for key, value in attrs if key in ('src', 'href') and value]
        if tag not in ('meta', 'img', 'br', 'rect', 'circle', 'path'):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ('rect', 'circle', 'path'):
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_paths_at_several_resolutions_are_listed_and_drawn() -> None:
    shown = copy.deepcopy(RESULT)
    shown['paths'] = [
        {'resolution': side, 'exit_index': t, 'macs': macs, 'accuracy': accuracy, 'agreement': 0.5,
         'dominated': accuracy == 0.4}
        for side, t, macs, accuracy in (
            (16, 0, 3e5, 0.3), (16, 1, 1e6, 0.4), (32, 0, 1e6, 0.5), (32, 1, 4e6, 0.8),
        )
    ]  # fmt: skip
    reader = Reader()
    reader.feed(page([shown]))
    assert {'Paths', '16 px, exit 2 of 2', '0.3', '30.0%'} <= set(reader.texts)
    assert page([shown]).count('class=best><td>') == 3
    assert 'Paths' not in page([RESULT])


def test_a_page_loads_nothing_from_elsewhere_and_escapes_names() -> None:
    reader = Reader()
    reader.feed(page([RESULT, {**copy.deepcopy(RESULT), 'name': 'plain'}]))
    assert reader.open == []
    assert all(each.startswith('data:image/jpeg;base64,') for each in reader.loads)
    text = ' '.join(reader.texts)
    for expected in (
        'joint <early>',
        'plain',
        'robot',
        '80.0%',
        '60.0%',
        'uniform',
        'Pictures that only deep exits get right',
    ):
        assert expected in text


def test_a_whole_experiment_has_a_colour_for_each_of_its_bars() -> None:
    joint_uniform_plain_separate_truncated_single_fixed = 1 + 1 + 1 + 1 + 4 + 1 + 1
    assert len(set(COLOURS)) == len(COLOURS) >= joint_uniform_plain_separate_truncated_single_fixed


def test_two_evaluations_of_one_name_stay_apart() -> None:
    assert 'joint &lt;early&gt; (2)' in page([RESULT, RESULT])


def test_an_exit_that_was_not_trained_is_no_point_of_the_curve() -> None:
    plain = copy.deepcopy(RESULT)
    plain['exits'][0]['trained'] = False
    assert page([plain]).count('<circle') == 1
    assert page([RESULT]).count('<circle') == 2


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    (tmp_path / 'a.json').write_text(json.dumps(RESULT))
    assert main([str(tmp_path / 'a.json'), '-o', str(tmp_path / 'r.html')]) == 0
    assert (tmp_path / 'r.html').read_text().startswith('<!doctype html>')


def test_what_is_no_evaluation_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'a.json').write_text('{"name": "odd"}')
    assert main([str(tmp_path / 'a.json'), '-o', str(tmp_path / 'r.html')]) == 2
    assert 'odd is no evaluation' in capsys.readouterr().err
    assert not (tmp_path / 'r.html').exists()


@pytest.mark.parametrize(
    ('low', 'high', 'expected'),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.7, 0.8, [0.7, 0.72, 0.74, 0.76, 0.78, 0.8]), (2, 2, [2])],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_charts_of_nothing_and_of_one_point_are_drawn() -> None:
    assert lines([], x_label='x', y_label='y', title='t').startswith('<svg')
    assert '<circle' in lines([Line('one', [(1.0, 0.5)], loose=True)], x_label='x', y_label='y', title='t')
    assert bars(['a'], {'s': [None]}, y_label='y', title='t').count('<rect') == 0
    assert reliability_diagram(BINS, title='t').count('<rect') == 2  # the empty bin has no bar
