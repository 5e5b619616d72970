"""training.terminal: bars where somebody sees them, work in the order that it was given."""

from __future__ import annotations

import io

import pytest

from training import terminal
from training.terminal import in_parallel


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    text = io.StringIO()
    monkeypatch.setattr(terminal.CONSOLE, '_file', text)
    return text


@pytest.mark.parametrize('width', [60, 200])
def test_a_terminal_sees_what_is_done_and_the_time_left(
    width: int, shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal.CONSOLE, '_force_terminal', True)
    monkeypatch.setattr(terminal.CONSOLE, '_width', width)
    monkeypatch.setattr(terminal.CONSOLE, 'is_interactive', True)
    monkeypatch.setenv('TERM', 'xterm')  # a dumb one cannot move its cursor
    found = list(in_parallel(range(600), lambda number: number * 2, what='decoding train', total=600))
    assert found == [(number, number * 2) for number in range(600)]
    text = shown.getvalue()
    assert 'decoding train' in text
    assert '600/600' in text
    assert 'left' in text


def test_nobody_else_sees_a_bar_and_a_failure_is_passed_on(shown: io.StringIO) -> None:
    def work(number: int) -> int:
        if number == 300:
            raise ValueError('broken')
        return number

    with pytest.raises(ValueError, match='broken'):
        list(in_parallel(range(600), work, what='decoding'))
    assert shown.getvalue() == ''
