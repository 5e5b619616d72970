"""The demo's books: every published frame ends up in exactly one column, in whatever order the news come."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.demo.frame_log import REMEMBERED, ROWS, FrameBooks
from impatient_ros.perception.frame_record import FrameRecord, Outcome


def record(outcome=Outcome.answered, exit_index=None, slack=None, reason=''):
    if outcome in (Outcome.answered, Outcome.late) and exit_index is None:
        exit_index = 1
    return FrameRecord('camera', 0.0, outcome, reason=reason, exit_index=exit_index, exits=5, slack=slack)


fates = st.lists(st.sampled_from([*Outcome, None]), max_size=60)


@given(fates, st.integers(0, 10), st.randoms(use_true_random=False))
def test_the_books_always_balance(ends, gaps, chance):
    """published == outcomes + not received + unaccounted, whatever becomes of the frames, in any order."""
    books = FrameBooks()
    news = []
    for stamp, outcome in enumerate(ends):
        news.append(lambda stamp=stamp: books.publish(stamp, stamp + 1))
        if outcome is not None:
            news.append(lambda stamp=stamp, outcome=outcome: books.settle(stamp, record(outcome)))
            news.append(lambda stamp=stamp: books.answer(stamp, 'hat', 0.5))
    news.append(lambda: books.not_received(gaps))
    chance.shuffle(news)
    for item in news:
        item()
        now = books.summary()
        assert now.published == now.settled + now.not_received + now.unaccounted
    end = books.summary()
    missing = ends.count(None)
    assert end.published == len(ends)
    assert {outcome: ends.count(outcome) for outcome in Outcome} == dict(end.outcomes)
    assert sum(end.exits_used.values()) == ends.count(Outcome.answered)
    assert (end.not_received, end.unaccounted) == (min(missing, gaps), max(0, missing - gaps))
    assert end.foreign == 0
    assert end.balanced == (missing <= gaps)
    assert books.outstanding == end.unaccounted


@given(fates, st.integers(1, 20))
def test_statuses_of_unknown_frames_and_second_ones_unbalance_the_books(ends, extra):
    books = FrameBooks()
    for stamp in range(len(ends)):
        books.publish(stamp, stamp + 1)
        books.settle(stamp, record())
    rng = random.Random(0)
    for _ in range(extra):
        books.settle(rng.choice([*range(len(ends)), 10**6]), record(Outcome.missed))
    summary = books.summary()
    assert summary.foreign == extra
    assert not summary.balanced
    assert summary.settled == summary.published  # and none is counted twice


def test_answers_in_time_are_counted_per_exit_and_late_ones_apart():
    books = FrameBooks()
    for stamp, (outcome, exit_index) in enumerate(
        [(Outcome.answered, 0), (Outcome.answered, 4), (Outcome.answered, 4), (Outcome.late, 4)]
    ):
        books.publish(stamp, stamp)
        books.settle(stamp, record(outcome, exit_index))
    summary = books.summary()
    assert summary.exits_used == {0: 1, 4: 2}
    assert summary.outcomes[Outcome.late] == 1
    assert summary.exits == 5


def test_reasons_are_counted_for_frames_that_were_not_answered():
    books = FrameBooks()
    for stamp, reason in enumerate(['encoding', 'encoding', 'size']):
        books.publish(stamp, stamp)
        books.settle(stamp, record(Outcome.dropped, reason=reason))
    assert books.summary().reasons == {(Outcome.dropped, 'encoding'): 2, (Outcome.dropped, 'size'): 1}


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=300))
def test_at_least_99_percent_of_the_answers_had_the_slack_called_p99(values):
    books = FrameBooks()
    for stamp, slack in enumerate(values):
        books.publish(stamp, stamp)
        books.settle(stamp, record(Outcome.answered if slack >= 0 else Outcome.late, slack=slack))
    summary = books.summary()
    assert sum(value >= summary.slack_p99 for value in values) >= 0.99 * len(values)
    assert sum(value > summary.slack_p99 for value in values) <= 0.99 * len(values)
    assert min(values) <= summary.slack_p50 <= max(values)


def test_without_answers_there_is_no_slack():
    books = FrameBooks()
    books.publish(1, 1)
    books.settle(1, record(Outcome.missed, slack=-0.5))
    assert (books.summary().slack_p50, books.summary().slack_p99) == (None, None)


@pytest.mark.parametrize('order', ['psa', 'pas', 'spa', 'sap', 'asp', 'aps'])
def test_label_and_status_meet_in_one_row_whichever_comes_first(order):
    books = FrameBooks()
    do = {
        'p': lambda: books.publish(7, 3, 'hat.jpg'),
        's': lambda: books.settle(7, record(slack=0.01)),
        'a': lambda: books.answer(7, 'hat', 0.9),
    }
    for step in order:
        do[step]()
    (row,) = books.latest(5)
    assert (row.number, row.name, row.label, row.confidence, row.record.slack) == (
        3,
        'hat.jpg',
        'hat',
        0.9,
        0.01,
    )
    assert row.answered
    assert books.summary().balanced


def test_the_last_of_several_answers_to_a_frame_counts():
    books = FrameBooks()
    books.publish(7, 1)
    books.answer(7, 'shoes', 0.4)
    books.answer(7, 'hat', 0.9)
    books.settle(7, record())
    assert books.latest(1)[0].label == 'hat'


def test_frames_are_shown_in_the_order_in_which_they_were_settled_and_handed_out_once():
    books = FrameBooks()
    for stamp in range(5):
        books.publish(stamp, stamp)
    for stamp in (1, 0, 3):
        books.settle(stamp, record())
    assert [row.number for row in books.latest(2)] == [0, 3]
    fresh = books.take_fresh()
    assert [row.number for row in fresh] == [1, 0, 3]
    assert books.take_fresh() == []
    books.answer(0, 'hat', 0.9)
    assert books.current(fresh[1]).label == 'hat'


def test_a_run_that_goes_on_for_days_needs_no_more_memory_for_its_rows():
    books = FrameBooks()
    for stamp in range(3 * REMEMBERED):
        books.publish(stamp, stamp, 'name')
        books.answer(stamp, 'hat', 0.5)
        books.settle(stamp, record())
    assert len(books.latest(10**6)) == ROWS
    assert len(books.take_fresh()) == ROWS
    assert len(books._settled) == REMEMBERED
    assert books.summary().balanced
