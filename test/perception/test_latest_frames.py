"""Newest frame per camera, earliest deadline first, nothing lost and nothing given out twice."""

import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impatient_ros.perception.deadlines import Deadline
from impatient_ros.perception.latest_frames import Frame, LatestFrames, SequenceGaps
from impatient_ros.perception.time_sharing import SUPERSEDED_LIMIT


def frame(camera='front', deadline_ns=1, arrival_ns=0, message=None):
    return Frame(camera, message, stamp_ns=0, arrival_ns=arrival_ns, deadline=Deadline(deadline_ns))


def test_a_newer_frame_supersedes_the_older_one_of_its_camera_and_inherits_the_count():
    frames = LatestFrames()
    first, second, third = frame(), frame(), frame()
    assert frames.put(first) is None
    assert frames.put(second) is first
    assert frames.put(third) is second
    taken = frames.take()
    assert taken is third
    assert taken.superseded == 2
    frames.put(after := frame())
    assert after.superseded == 0


def test_cameras_do_not_supersede_each_other():
    frames = LatestFrames()
    assert frames.put(frame('front')) is None
    assert frames.put(frame('rear')) is None
    assert len(frames.deadlines()) == 2


def test_the_earliest_deadline_is_taken_first():
    frames = LatestFrames()
    for camera, deadline in (('a', 3), ('b', 1), ('c', 2)):
        frames.put(frame(camera, deadline))
    assert [frames.take().camera for _ in range(3)] == ['b', 'c', 'a']


def test_equal_deadlines_are_served_in_order_of_arrival():
    frames = LatestFrames()
    for camera, arrival_ns in (('late', 2), ('early', 1)):
        frames.put(frame(camera, 90, arrival_ns))
        frames.put(frame(camera + '_due', 9, arrival_ns))
    assert [frames.take().camera for _ in range(4)] == ['early_due', 'late_due', 'early', 'late']


def test_rescheduling_changes_which_frame_is_next():
    frames = LatestFrames()
    frames.put(frame('a', 1))
    frames.put(frame('b', 2))
    moved = {'a': Deadline(3), 'b': Deadline(4, fallback=True)}
    frames.reschedule(lambda waiting: moved[waiting.camera])
    assert frames.take().camera == 'a'
    assert frames.take().deadline.fault == 'no_deadline'


def blocked_take(frames):
    """A thread blocked in take() and the list that its result goes to."""
    results = []
    thread = threading.Thread(target=lambda: results.append(frames.take()), daemon=True)
    thread.start()
    return thread, results


def test_a_put_wakes_a_blocked_take():
    frames = LatestFrames()
    thread, results = blocked_take(frames)
    frames.put(wanted := frame())
    thread.join(10)
    assert results == [wanted]


def test_close_wakes_every_blocked_take_with_none():
    frames = LatestFrames()
    blocked = [blocked_take(frames) for _ in range(3)]
    frames.close()
    for thread, results in blocked:
        thread.join(10)
        assert results == [None]


def test_close_returns_what_was_waiting_and_keeps_nothing_more():
    frames = LatestFrames()
    frames.put(waiting := frame())
    assert frames.close() == [waiting]
    assert frames.put(after := frame()) is after
    assert frames.take() is None
    assert frames.close() == []


def test_clear_leaves_what_arrived_by_an_instant():
    frames = LatestFrames()
    frames.put(frame('b', arrival_ns=2))
    frames.put(early := frame('a', arrival_ns=1))
    assert [left.camera for left in frames.clear(later_than_ns=1)] == ['b']
    assert frames.take() is early


def test_clear_returns_the_waiting_frames_and_goes_on():
    frames = LatestFrames()
    frames.put(second := frame('b', arrival_ns=2))
    frames.put(first := frame('a', arrival_ns=1))
    assert frames.clear() == [first, second]
    assert frames.deadlines() == []
    frames.put(third := frame())
    assert frames.take() is third
    assert third.superseded == 0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from('abc'), st.integers(0, 10)),
            st.just('take'),
            st.just('clear'),
        )
    )
)
def test_every_frame_ends_exactly_once(steps):
    frames, ends, made = LatestFrames(), [], 0
    for step in steps:
        if step == 'take':
            if frames.deadlines():  # it would wait for one
                ends.append(frames.take().message)
        elif step == 'clear':
            ends += [left.message for left in frames.clear()]
        else:
            camera, deadline = step
            older = frames.put(frame(camera, deadline, arrival_ns=made, message=made))
            made += 1
            if older is not None:
                assert older.camera == camera
                ends.append(older.message)
    ends += [left.message for left in frames.close()]
    assert sorted(ends) == list(range(made))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3))
def test_every_frame_ends_exactly_once_between_real_threads(cameras, takers):
    per_camera = 200
    frames = LatestFrames()
    superseded, taken = [[] for _ in range(cameras)], [[] for _ in range(takers)]

    def receive(camera):
        for number in range(per_camera):
            older = frames.put(frame(str(camera), number % 7, message=(camera, number)))
            if older is not None:
                superseded[camera].append(older)

    def work(taker):
        while (got := frames.take()) is not None:
            taken[taker].append(got)

    workers = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(takers)]
    receivers = [threading.Thread(target=receive, args=(index,), daemon=True) for index in range(cameras)]
    for thread in (*workers, *receivers):
        thread.start()
    for thread in receivers:
        thread.join(30)
    left = frames.close()
    for thread in workers:
        thread.join(30)

    all_taken = [got for list_ in taken for got in list_]
    all_superseded = [got for list_ in superseded for got in list_]
    ends = Counter(got.message for got in (*all_taken, *all_superseded, *left))
    assert ends == Counter((camera, number) for camera in range(cameras) for number in range(per_camera))
    assert sum(got.superseded for got in (*all_taken, *left)) == len(all_superseded)


@pytest.mark.parametrize(
    ('numbers', 'missing'),
    [
        ([57], 0),  # joined late: what came before is not ours
        ([1, 2, 3], 0),
        ([1, 4], 2),
        ([1, 4, 5, 9], 5),
        ([8, 9, 1, 2], 0),  # the publisher restarted
        ([8, 9, 1, 3], 1),
        ([5, 5], 0),
        ([], 0),
        ([None, None], 0),
        ([3, None, 9], 0),
    ],
)
def test_gaps_are_counted_between_messages_of_one_publisher(numbers, missing):
    gaps = SequenceGaps()
    assert sum(gaps.observe(number) for number in numbers) == missing


def test_several_publishers_disable_the_count_and_one_alone_starts_it_afresh():
    gaps = SequenceGaps()
    assert gaps.observe(1, publishers=1) == 0
    assert gaps.observe(900, publishers=2) == 0
    assert gaps.observe(3, publishers=2) == 0
    assert gaps.observe(905, publishers=1) == 0
    assert gaps.observe(907, publishers=1) == 1


@given(st.sets(st.integers(1, 200), min_size=1))
def test_received_and_missing_together_are_what_was_published(numbers):
    gaps = SequenceGaps()
    missing = sum(gaps.observe(number) for number in sorted(numbers))
    assert len(numbers) + missing == max(numbers) - min(numbers) + 1


def test_a_camera_that_was_passed_over_often_goes_before_earlier_deadlines():
    frames = LatestFrames()
    for number in range(SUPERSEDED_LIMIT + 1):
        frames.put(frame('rear', 50 + number))
        frames.put(frame('front', 1 + number))
        if number < SUPERSEDED_LIMIT:
            assert frames.take().camera == 'front'
    assert frames.take().camera == 'rear'
    frames.put(frame('rear', 99))
    assert frames.take().camera == 'front'


def test_the_deadlines_of_the_waiting_frames_are_told():
    frames = LatestFrames()
    assert frames.deadlines() == []
    frames.put(frame('front', 3))
    frames.put(frame('rear', 4))
    assert sorted(each.at_ns for each in frames.deadlines()) == [3, 4]
