"""The demo's frame log: every published frame is counted exactly once, in whatever order messages come."""

import random
from dataclasses import replace

import pytest
from demo.rows import LADDER, MS
from demo.rows import record as path_record
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.demo.frame_log import KEPT, REMEMBERED, FrameLog, Score
from impatient_ros.demo.plain_network import PlainNetwork
from impatient_ros.perception.frame_record import FrameRecord, Outcome


def record(outcome=Outcome.answered, exit_index=None, slack=None, reason=''):
    if outcome in (Outcome.answered, Outcome.late) and exit_index is None:
        exit_index = 1
    return FrameRecord('camera', 0.0, outcome, reason=reason, exit_index=exit_index, exits=5, slack=slack)


fates = st.lists(st.sampled_from([*Outcome, None]), max_size=60)


@given(fates, st.integers(0, 10), st.randoms(use_true_random=False))
def test_every_frame_is_always_counted_once(ends, gaps, chance):
    """published == outcomes + not received + unaccounted, whatever becomes of the frames, in any order."""
    frame_log = FrameLog()
    news = []
    for stamp, outcome in enumerate(ends):
        news.append(lambda stamp=stamp: frame_log.add_frame(stamp, stamp + 1))
        if outcome is not None:
            news.append(lambda stamp=stamp, outcome=outcome: frame_log.add_status(stamp, record(outcome)))
            news.append(lambda stamp=stamp: frame_log.add_answer(stamp, 'hat', 0.5))
    news.append(lambda: frame_log.set_not_received(gaps))
    chance.shuffle(news)
    for item in news:
        item()
        now = frame_log.summary()
        assert now.published == now.reported + now.not_received + now.unaccounted
    end = frame_log.summary()
    missing = ends.count(None)
    assert end.published == len(ends)
    assert {outcome: ends.count(outcome) for outcome in Outcome} == dict(end.outcomes)
    assert sum(end.paths_used.values()) == end.score.in_time == ends.count(Outcome.answered)
    assert end.score.frames == len(ends)
    assert (end.not_received, end.unaccounted) == (min(missing, gaps), max(0, missing - gaps))
    assert end.unexpected == 0
    assert end.complete == (missing <= gaps)
    assert frame_log.outstanding == end.unaccounted


@given(fates, st.integers(1, 20))
def test_statuses_of_unknown_frames_and_second_ones_are_counted_as_unexpected(ends, extra):
    frame_log = FrameLog()
    for stamp in range(len(ends)):
        frame_log.add_frame(stamp, stamp + 1)
        frame_log.add_status(stamp, record())
    rng = random.Random(0)
    for _ in range(extra):
        frame_log.add_status(rng.choice([*range(len(ends)), 10**6]), record(Outcome.missed))
    summary = frame_log.summary()
    assert summary.unexpected == extra
    assert not summary.complete
    assert summary.reported == summary.published  # and none is counted twice


def test_answers_in_time_are_counted_per_path_and_late_ones_apart():
    frame_log = FrameLog()
    for stamp, (outcome, resolution, exit_index) in enumerate(
        [
            (Outcome.answered, 96, 0),
            (Outcome.answered, 160, 4),
            (Outcome.answered, 160, 4),
            (Outcome.answered, 96, 4),
            (Outcome.late, 160, 4),
        ]
    ):
        frame_log.add_frame(stamp, stamp)
        frame_log.add_status(stamp, replace(record(outcome, exit_index), resolution=resolution))
    summary = frame_log.summary()
    assert summary.paths_used == {(96, 0): 1, (160, 4): 2, (96, 4): 1}
    assert summary.outcomes[Outcome.late] == 1


def plain(answers):
    """Answers along the second path of LADDER, which takes 5 ms from the image when all is quiet."""
    return PlainNetwork(LADDER, LADDER.paths[1], answers)


def test_right_answers_in_time_are_counted_for_both_networks_quiet_and_loaded():
    frame_log = FrameLog(plain({'a': 'hat', 'b': 'shoes'}))
    frames = [
        # picture, budget in ms, loaded, outcome, answer
        ('a', 9, False, Outcome.answered, 'hat'),
        ('a', 4, False, Outcome.answered, 'hat'),  # too short for the plain network
        ('b', 9, False, Outcome.answered, 'shoes'),  # wrong, both
        ('a', 9, True, Outcome.late, 'hat'),
        ('a', 9, True, Outcome.infeasible, None),
    ]
    for stamp, (name, budget, loaded, outcome, answer) in enumerate(frames):
        stamp *= 100 * MS
        deadline = stamp + budget * MS
        frame_log.add_frame(stamp, 1, name, deadline_ns=deadline, truth='hat', loaded=loaded)
        left = 1e-3 * (budget - 1)
        values = {'taken': 0, 'planned': 0, 'elapsed': 0.003} if answer else {}
        frame_log.add_status(stamp, path_record(outcome, budget=left, **values))
        if answer:
            frame_log.add_answer(stamp, answer, 0.9)
    summary = frame_log.summary()
    assert summary.quiet == Score(frames=3, known=3, in_time=3, right=2, plain_in_time=2, plain_right=1)
    assert summary.loaded == Score(frames=2, known=2, in_time=0, right=0, plain_in_time=2, plain_right=2)
    assert summary.score == Score(frames=5, known=5, in_time=3, right=2, plain_in_time=4, plain_right=3)


def test_without_a_known_class_nothing_is_right_or_wrong():
    frame_log = FrameLog(plain({'a': 'hat'}))
    frame_log.add_frame(0, 1, 'a', deadline_ns=9 * MS)
    frame_log.add_answer(0, 'hat', 0.9)
    frame_log.add_status(0, path_record(taken=0, elapsed=0.003, budget=0.008))
    (row,) = frame_log.latest(1)
    assert (row.right, row.plain_right, row.in_time, row.plain.in_time) == (None, None, True, True)
    assert frame_log.summary().score == Score(frames=1, in_time=1, plain_in_time=1)


def test_a_better_answer_replaces_a_counted_one():
    frame_log = FrameLog()
    frame_log.add_frame(0, 1, truth='hat')
    frame_log.add_status(0, record())
    assert frame_log.summary().score.right == 0
    frame_log.add_answer(0, 'hat', 0.5)
    assert frame_log.summary().score.right == 1
    frame_log.add_answer(0, 'shoes', 0.9)
    assert frame_log.summary().score == Score(frames=1, known=1, in_time=1, right=0)


def test_frames_that_never_reached_the_node_count_against_both_networks():
    frame_log = FrameLog(plain({'a': 'hat'}))
    frame_log.add_frame(0, 1, 'a', deadline_ns=9 * MS, truth='hat')
    frame_log.set_not_received(1)
    assert frame_log.summary().score == Score(frames=1, known=1)


def test_reasons_are_counted_for_frames_that_were_not_answered():
    frame_log = FrameLog()
    for stamp, reason in enumerate(['encoding', 'encoding', 'size']):
        frame_log.add_frame(stamp, stamp)
        frame_log.add_status(stamp, record(Outcome.dropped, reason=reason))
    assert frame_log.summary().reasons == {(Outcome.dropped, 'encoding'): 2, (Outcome.dropped, 'size'): 1}


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=300))
def test_at_least_99_percent_of_the_answers_had_the_slack_called_p99(values):
    frame_log = FrameLog()
    for stamp, slack in enumerate(values):
        frame_log.add_frame(stamp, stamp)
        frame_log.add_status(stamp, record(Outcome.answered if slack >= 0 else Outcome.late, slack=slack))
    summary = frame_log.summary()
    assert sum(value >= summary.slack_p99 for value in values) >= 0.99 * len(values)
    assert sum(value > summary.slack_p99 for value in values) <= 0.99 * len(values)
    assert min(values) <= summary.slack_p50 <= max(values)


def test_without_answers_there_is_no_slack():
    frame_log = FrameLog()
    frame_log.add_frame(1, 1)
    frame_log.add_status(1, record(Outcome.missed, slack=-0.5))
    assert (frame_log.summary().slack_p50, frame_log.summary().slack_p99) == (None, None)


@pytest.mark.parametrize('order', ['psa', 'pas', 'spa', 'sap', 'asp', 'aps'])
def test_label_and_status_meet_in_one_row_whichever_comes_first(order):
    frame_log = FrameLog()
    do = {
        'p': lambda: frame_log.add_frame(7, 3, 'hat.jpg'),
        's': lambda: frame_log.add_status(7, record(slack=0.01)),
        'a': lambda: frame_log.add_answer(7, 'hat', 0.9),
    }
    for step in order:
        do[step]()
    (row,) = frame_log.latest(5)
    assert (row.number, row.name, row.label, row.confidence, row.record.slack) == (
        3,
        'hat.jpg',
        'hat',
        0.9,
        0.01,
    )
    assert row.answered
    assert frame_log.summary().complete


def test_the_last_of_several_answers_to_a_frame_counts():
    frame_log = FrameLog()
    frame_log.add_frame(7, 1)
    frame_log.add_answer(7, 'shoes', 0.4)
    frame_log.add_answer(7, 'hat', 0.9)
    frame_log.add_status(7, record())
    assert frame_log.latest(1)[0].label == 'hat'


def test_frames_are_shown_in_the_order_of_their_statuses_and_handed_out_once():
    frame_log = FrameLog()
    for stamp in range(5):
        frame_log.add_frame(stamp, stamp)
    for stamp in (1, 0, 3):
        frame_log.add_status(stamp, record())
    assert [row.number for row in frame_log.latest(2)] == [0, 3]
    new = frame_log.take_new()
    assert [row.number for row in new] == [1, 0, 3]
    assert frame_log.take_new() == []
    frame_log.add_answer(0, 'hat', 0.9)
    assert frame_log.current(new[1]).label == 'hat'


def test_a_run_that_goes_on_for_days_needs_no_more_memory_for_its_rows():
    frame_log = FrameLog()
    for stamp in range(2 * REMEMBERED):
        frame_log.add_frame(stamp, stamp, 'name')
        frame_log.add_answer(stamp, 'hat', 0.5)
        frame_log.add_status(stamp, record())
    assert len(frame_log.latest(10**6)) == KEPT
    assert len(frame_log.take_new()) == KEPT
    assert len(frame_log._reported) == REMEMBERED
    assert frame_log.summary().complete
