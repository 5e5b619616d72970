"""python -m training.report: one page, whole by itself."""

from __future__ import annotations

import copy
import json
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from training.report import main, page
from training.reporting.charts import COLOURS, Line, bars, lines, reliability_diagram

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


def parts(svg: str, kind: str) -> dict[str, int]:
    """By the names of an SVG's groups `kind`-k, how many marks each has."""
    groups = ElementTree.fromstring(svg).iter('{http://www.w3.org/2000/svg}g')
    named = {group.get('id', ''): group for group in groups}
    return {
        name: sum(1 for _ in group.iter('{http://www.w3.org/2000/svg}use'))
        for name, group in named.items()
        if name.startswith(f'{kind}-')
    }


def first_chart(result: dict[str, Any]) -> str:
    text = page([result])
    return text[text.index('<svg') : text.index('</svg>') + 6]


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


def test_the_page_says_which_pictures_chose_the_exits() -> None:
    def said(**more: bool) -> tuple[bool, bool]:
        text = page([RESULT | more])
        return 'own accuracies chose the exits' in text, 'that the other half counts' in text

    assert said(chosen_on_halves=False) == (True, False)
    assert said(chosen_on_halves=True) == (False, True)
    # Of several resolutions it is the paths that are shown.
    assert said(chosen_on_halves=False, paths_chosen_on_halves=True) == (False, True)
    assert said() == (False, False)  # an evaluation from before this was known


def test_at_several_resolutions_the_table_has_what_all_paths_are_worth() -> None:
    shown = RESULT | {'expected_accuracy_of_paths': {'uniform': 0.777, 'config/robot.yaml': 0.444}}
    text = page([shown])
    assert '77.7%</td>' in text
    assert '60.0%</td>' not in text  # that of the largest resolution alone


def test_the_page_says_that_there_are_no_labels_and_what_one_answer_is_right_on() -> None:
    text = page([RESULT | {'relative': True, 'commonest': {'label': '<pole>', 'share': 0.547}}])
    assert "get the full path's answer" in unescape(text)
    assert 'have no labels' in text
    assert 'Always &lt;pole&gt; would be right on 54.7%' in text
    assert 'have no labels' not in page([RESULT])


def test_two_evaluations_of_one_name_stay_apart() -> None:
    assert 'joint &lt;early&gt; (2)' in page([RESULT, RESULT])


def test_an_exit_that_was_not_trained_is_no_point_of_the_curve() -> None:
    plain = copy.deepcopy(RESULT)
    plain['exits'][0]['trained'] = False
    assert parts(first_chart(plain), 'curve') == {'curve-1': 1}
    assert parts(first_chart(RESULT), 'curve') == {'curve-1': 2}


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    (tmp_path / 'a.json').write_text(json.dumps(RESULT))
    assert main([str(tmp_path / 'a.json'), '-o', str(tmp_path / 'r.html')]) == 0
    assert (tmp_path / 'r.html').read_text().startswith('<!doctype html>')


def test_what_is_no_evaluation_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'a.json').write_text('{"name": "odd"}')
    assert main([str(tmp_path / 'a.json'), '-o', str(tmp_path / 'r.html')]) == 2
    assert 'odd is no evaluation' in capsys.readouterr().err
    assert not (tmp_path / 'r.html').exists()


def test_charts_of_nothing_and_of_one_point_are_drawn() -> None:
    assert parts(lines([], x_label='x', y_label='y', title='t'), 'curve') == {}
    one = lines([Line('one', [(1.0, 0.5)], loose=True)], x_label='x', y_label='y', title='a < b')
    assert parts(one, 'curve') == {'curve-1': 1}
    assert one.startswith('<svg role="img" aria-label="a &lt; b"')
    assert '>x</text>' in one
    shown = bars(['early', 'late'], {'s': [None, 0.25], 't': [0.5, 0.75]}, y_label='y', title='t')
    assert [each for each in ('25.0', '50.0', '75.0', 'early', 'late') if f'>{each}</text>' in shown] == [
        '25.0', '50.0', '75.0', 'early', 'late',
    ]  # fmt: skip
    assert '<svg' in bars(['a'], {'s': [None]}, y_label='y', title='t')
    assert set(parts(reliability_diagram(BINS, title='t'), 'bin')) == {'bin-2', 'bin-3'}  # the first is empty


def test_the_same_numbers_make_the_same_page() -> None:
    assert page([RESULT]) == page([copy.deepcopy(RESULT)])
