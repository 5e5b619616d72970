"""The report's section about where exits stand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from training.placement.placement import Placement
from training.placement.search import Candidate
from training.reporting.placement_section import placement_section

CANDIDATES = (
    Candidate('stem<1>', 0, 0.01, 1e6, 1e5, 0.01, 0.31),
    Candidate('stem<1>', 0, 0.02, 1e6, 2e5, 0.02, 0.36),
    Candidate('blocks.0', 1, 0.01, 5e6, 1e5, 0.01, 0.42),
)
PLACEMENT = Placement(
    budgets='config/robot.yaml', unit='MACs', candidates=CANDIDATES, chosen=(1,), even=(2,), last_cost=1e7,
    last_accuracy=0.5, expected=0.361, expected_even=0.211,
    about={
        'backbone': 'the given network', 'learned': 3750, 'held_out': 1250, 'overhead': 0.0,
        'relative': False,
    },
    key={},
)  # fmt: skip


def test_the_gain_comes_first_and_the_chosen_exits_are_bold() -> None:
    text = ''.join(placement_section(PLACEMENT.to_dict(), 'LEGEND'))
    assert 'robot budgets' in text
    assert '<b>36.1%</b>, 15.0 points more than 2 exits placed evenly' in text
    assert 'from 3,750 pictures' in text
    assert 'LEGEND' in text
    assert '<td>stem&lt;1&gt;</td><td>10.0%</td><td>31.0%</td><td class=best>36.0%</td><td>1</td>' in text
    assert '<td>blocks.0</td><td>50.0%</td><td>42.0%</td><td></td><td></td>' in text
    marks = {
        group[: group.index('"')]: group[: group.index('</g>')].count('<use')
        for group in text.split('<g id="')
        if group.startswith('curve-')
    }
    # Each curve ends in the last exit.
    assert sorted(marks.values()) == sorted((len(CANDIDATES) + 1, 2, 2))


def test_seconds_are_shown_in_milliseconds_with_their_overhead() -> None:
    seconds = replace(
        PLACEMENT,
        unit='s',
        candidates=tuple(replace(each, backbone=0.002, head=0.001) for each in CANDIDATES),
        last_cost=0.012,
        about={**PLACEMENT.about, 'overhead': 0.003, 'relative': True},
        expected_even=0.4,
    )
    text = ''.join(placement_section(seconds.to_dict(), ''))
    assert 'cost, ms' in text
    assert '<td>2.00 ms</td>' in text
    assert 'expected agreement with the full path' in text
    assert '3.9 points less than' in text


def test_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match='not a placement'):
        placement_section({'budgets': 'early'}, '')
