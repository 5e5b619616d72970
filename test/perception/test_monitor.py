"""Counts since the reset, rates and quantiles in the window."""

import threading

import pytest

from impatient_ros.perception.frame_record import FrameRecord, Outcome
from impatient_ros.perception.monitor import Monitor


class Clock:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def record(outcome=Outcome.answered, camera='front', **values):
    if outcome is Outcome.answered:
        values = {'exit_index': 2, 'planned_exit_index': 2, 'exits': 5, 'slack': 0.01, **values}
    return FrameRecord(camera=camera, stamp=1.0, outcome=outcome, **values)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def monitor(clock):
    return Monitor(['front'], window=10.0, frames=50, now=clock)


def test_miss_and_overrun_rates_leave_infeasible_superseded_and_dropped_frames_out(clock):
    monitor = Monitor(now=clock)
    for _ in range(6):
        monitor.record(record(overrun=False))
    monitor.record(record(exit_index=1, overrun=True))  # no miss
    monitor.record(record(Outcome.late, exit_index=0, planned_exit_index=0, overrun=True))
    monitor.record(record(Outcome.missed, planned_exit_index=0, overrun=True))
    monitor.record(record(Outcome.missed))  # no exit was protected
    for outcome in (Outcome.infeasible, Outcome.superseded, Outcome.dropped):
        monitor.record(record(outcome))
    statistics = monitor.snapshot().cameras['front']
    assert statistics.miss_rate == pytest.approx(3 / 10)
    assert statistics.overrun_rate == pytest.approx(3 / 9)


def test_nothing_is_claimed_before_the_first_frame(monitor):
    statistics = monitor.snapshot().cameras['front']
    assert statistics.frames == 0
    assert statistics.rate == 0.0
    for value in (statistics.miss_rate, statistics.overrun_rate, statistics.slack_p50, statistics.slowdown):
        assert value is None


def test_counts_stay_when_the_window_has_passed(monitor, clock):
    monitor.record(record(fault='zero_stamp'))
    monitor.record(record(Outcome.dropped, reason='short_data'))
    monitor.not_received('front', 3)
    clock.time += 10.5
    statistics = monitor.snapshot().cameras['front']
    assert statistics.frames == 2
    assert statistics.counts == {Outcome.answered: 1, Outcome.dropped: 1}
    assert statistics.faults == {'zero_stamp': 1}
    assert statistics.reasons == {'short_data': 1}
    assert statistics.not_received == 3
    assert statistics.recent == statistics.recent_paths == statistics.recent_faults == {}
    assert statistics.recent_not_received == 0
    assert statistics.rate == 0.0
    assert statistics.slack_min is None
    assert statistics.silent == pytest.approx(10.5)


def test_rates_are_those_of_the_window(clock):
    monitor = Monitor(window=10.0, now=clock)
    for _ in range(100):  # a camera of 10 Hz for 20 s; every other frame is superseded
        clock.time += 0.1
        monitor.record(record())
        clock.time += 0.1
        monitor.record(record(Outcome.superseded))
    statistics = monitor.snapshot().cameras['front']
    assert statistics.rate == pytest.approx(10.0, rel=0.02)
    assert statistics.answer_rate == pytest.approx(5.0, rel=0.02)
    clock.time += 5.0
    assert monitor.snapshot().cameras['front'].rate == pytest.approx(5.0, rel=0.02)


def test_a_full_window_is_as_long_as_its_records(clock):
    monitor = Monitor(window=10.0, frames=20, now=clock)
    for _ in range(100):
        clock.time += 0.01
        monitor.record(record())
    for _ in range(100):
        clock.time += 0.1
        monitor.record(record())
    assert monitor.snapshot().cameras['front'].rate == pytest.approx(10.0, rel=0.06)


def test_a_first_frame_is_no_burst(monitor, clock):
    clock.time += 0.001
    monitor.record(record())
    assert monitor.snapshot().cameras['front'].rate == 1.0


def test_slack_quantiles(clock):
    monitor = Monitor(now=clock)
    for slack in range(101):
        monitor.record(record(slack=slack / 1000))
    monitor.record(record(Outcome.infeasible, slack=-5.0))  # was never tried
    statistics = monitor.snapshot().cameras['front']
    assert statistics.slack_min == 0.0
    assert statistics.slack_p01 == pytest.approx(0.001)
    assert statistics.slack_p50 == pytest.approx(0.050)
    assert statistics.slack_p99 == pytest.approx(0.099)


def test_the_slowdown_is_the_latest(monitor):
    for slowdown in (1.0, 3.0, 1.5):
        monitor.record(record(slowdown=slowdown))
    monitor.record(record(Outcome.superseded))
    assert monitor.snapshot().cameras['front'].slowdown == 1.5


def test_reset_keeps_the_cameras_and_forgets_the_rest(monitor, clock):
    monitor.record(record(camera='rear'))
    monitor.not_received('front', 2)
    clock.time += 3.0
    monitor.reset()
    snapshot = monitor.snapshot()
    assert set(snapshot.cameras) == {'front', 'rear'}
    assert all(each.frames == each.not_received == 0 for each in snapshot.cameras.values())
    assert snapshot.cameras['front'].silent == 0.0


def test_a_snapshot_does_not_change_afterwards(monitor):
    monitor.record(record())
    snapshot = monitor.snapshot()
    monitor.record(record())
    assert snapshot.cameras['front'].counts == {Outcome.answered: 1}


def test_several_threads_count_every_frame():
    monitor = Monitor(frames=100)

    def work():
        for _ in range(500):
            monitor.record(record())
            monitor.not_received('front', 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        monitor.snapshot()
    for thread in threads:
        thread.join()
    statistics = monitor.snapshot().cameras['front']
    assert statistics.frames == statistics.not_received == 2000
