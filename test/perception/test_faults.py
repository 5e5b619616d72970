import logging

import pytest

from impatient_ros.perception.faults import ENDURED, FaultCounts, Faults


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def faults(clock):
    return Faults(now=clock)


def fail(faults, where='here', number=0):
    try:
        raise ValueError(f'broken {number}')
    except ValueError as error:
        faults.survived(where, error)


def tracebacks(caplog):
    return [record for record in caplog.records if record.exc_info]


def test_errors_are_counted_by_where_they_happened_and_the_latest_is_shown_for_a_while(faults, clock):
    fail(faults)
    fail(faults, 'there', 2)
    counts = faults.counts()
    assert counts.errors == {'here': 1, 'there': 1}
    assert counts.recent == "there: ValueError('broken 2')"
    clock.now += 11
    assert faults.counts().recent == ''
    assert faults.counts().errors == {'here': 1, 'there': 1}


def test_the_log_has_one_traceback_of_each_kind(faults, caplog):
    for number in range(5):
        fail(faults, number=number)
    assert len(tracebacks(caplog)) == 1
    assert faults.counts().errors == {'here': 5}
    try:
        raise ValueError('from another line')
    except ValueError as error:
        faults.survived('here', error, 'a frame was dropped')
    assert len(tracebacks(caplog)) == 2
    assert 'a frame was dropped' in caplog.text
    fail(faults, 'there')
    assert len(tracebacks(caplog)) == 3


def test_an_error_that_was_never_raised_can_be_told(faults, caplog):
    faults.survived('here', ValueError('broken'))
    assert faults.counts().errors == {'here': 1}
    assert 'broken' in caplog.text


def test_every_refused_request_is_counted_and_a_storm_of_them_is_one_line(faults, clock, caplog):
    for number in range(100):
        faults.refused('set_parameters:', f'no parameter {number}')
    assert faults.counts().refused == 100
    assert len(caplog.records) == 1
    assert 'set_parameters: refused: no parameter 0' in caplog.text
    clock.now += 2
    faults.refused('set_parameters:', 'x' * 1_000_000)
    assert 'and 99 more' in caplog.text
    assert len(caplog.text) < 2000


def test_a_reset_forgets_counts_and_not_what_was_logged(faults, caplog):
    fail(faults)
    faults.refused('this', 'reason')
    faults.reset()
    assert faults.counts() == FaultCounts()
    fail(faults)
    assert len(tracebacks(caplog)) == 1


def test_a_guarded_function_takes_its_arguments_and_raises_nothing(faults):
    taken = []
    faults.guarded('here', lambda *arguments: taken.append(arguments))(1, 2)
    assert taken == [(1, 2)]
    faults.guarded('here', lambda: 1 / 0)()
    assert faults.counts().errors == {'here': 1}


def test_a_loop_goes_on_after_errors_and_ends_when_it_says_so(faults):
    script = iter([*'fail ' * (3 * ENDURED), 'end'])

    def step():
        what = next(script)
        if what == 'f':
            raise ValueError('broken')
        return what != 'end'

    assert faults.keep_running(step, 'loop')
    assert faults.counts().errors == {'loop': 3 * ENDURED}
    assert not faults.gave_up


def test_a_loop_that_only_fails_is_given_up_once(clock, caplog):
    told = []
    faults = Faults(lambda: told.append('ended'), clock)
    for _ in range(2):
        assert not faults.keep_running(lambda: 1 / 0, 'loop')
    assert faults.counts().errors == {'loop': 2 * ENDURED}
    assert faults.gave_up
    assert told == ['ended']
    assert [each.levelno for each in caplog.records].count(logging.CRITICAL) == 2
    assert len(tracebacks(caplog)) == 1
