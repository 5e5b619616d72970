"""Real time on and off in pairs: the benchmark's own arithmetic, and a short run of it."""

import os
import time

import pytest

from deadline import realtime
from deadline.frame import Frame
from deadline.realtime import ORDINARY, REAL_TIME, Progress, compare_models, realtime_rows, realtime_table
from impatient_ros.perception.process_threads import schedule, thread_ids

USUAL = {
    'model': 'm', 'policy': ORDINARY, 'load': 'burn', 'index': 0, 'phase': 0, 'loaded': True, 'budget': 0.1,
    'path': 1, 'planned': 1, 'protected': True, 'overrun': False, 'late': False, 'slack': 0.01,
    'hindsight': 1, 'feasible': True,
}  # fmt: skip


def frame(**values):
    return Frame(**{**USUAL, **values})


class Clock:
    """Time and what two processes have computed, as told."""

    def __init__(self, monkeypatch):
        self.now, self.taken = 50.0, 3.0
        monkeypatch.setattr(realtime.time, 'perf_counter', lambda: self.now)
        monkeypatch.setattr(realtime, '_process_seconds', lambda pid: self.taken / 2)

    def go(self, seconds, share):
        self.now += seconds
        self.taken += seconds * share


class TestProgress:
    def test_is_what_others_compute_relative_to_when_they_are_alone(self, monkeypatch):
        clock, progress = Clock(monkeypatch), Progress([1, 2])
        for _ in range(3):
            for slot, share in (('idle', 1.6), ('ordinary', 1.2), ('real time', 0.4)):
                progress.begin(slot, counts=True)
                clock.go(0.1, share)
        progress.begin('idle', counts=True)
        assert progress.share('ordinary') == pytest.approx(0.75)
        assert progress.share('real time') == pytest.approx(0.25)

    def test_does_not_count_while_the_load_is_off(self, monkeypatch):
        clock, progress = Clock(monkeypatch), Progress([1, 2])
        for on in (True, False):
            for slot in ('idle', 'ordinary'):
                progress.begin(slot, counts=on)
                clock.go(0.1, 1.0 if on else 0.0)
        progress.begin('idle', counts=False)
        assert progress.share('ordinary') == pytest.approx(1.0)

    def test_is_unknown_without_a_load(self, monkeypatch):
        clock, progress = Clock(monkeypatch), Progress([])
        progress.begin('idle', counts=False)
        clock.go(1.0, 0.0)
        progress.begin('ordinary', counts=False)
        assert progress.share('ordinary') is None

    @pytest.mark.skipif(not thread_ids(), reason='needs Linux')
    def test_is_counted_by_the_processes_own_clock(self):
        before = realtime._process_seconds(os.getpid()) - time.process_time()
        while time.process_time() < 0.05:
            pass
        assert realtime._process_seconds(os.getpid()) - time.process_time() == pytest.approx(before, abs=0.01)


def test_rows_count_misses_of_feasible_frames_and_compare_with_no_load(monkeypatch):
    clock, progress = Clock(monkeypatch), Progress([1])
    for slot, share in (('idle', 1.0), (REAL_TIME, 0.5)):
        progress.begin(slot, counts=True)
        clock.go(1.0, share)
    progress.begin('idle', counts=True)
    frames = [frame(load='none', policy=REAL_TIME)] * 10 + [
        *[frame(policy=REAL_TIME)] * 6,
        frame(policy=REAL_TIME, path=0),
        frame(policy=REAL_TIME, path=-1),  # a miss
        frame(policy=REAL_TIME, path=-1, feasible=False, hindsight=-1),
        frame(policy=REAL_TIME, path=-1, bystanders=1.5),  # another one, beside a stranger's work
    ]
    rows = realtime_rows(frames, (0.5, 0.8), {'none': Progress([]), 'burn': progress})
    assert [(row['load'], row['which']) for row in rows] == [
        ('none', 'all'), ('none', 'undisturbed'), ('burn', 'all'), ('burn', 'undisturbed'),
    ]  # fmt: skip
    everything, quiet = rows[2:]
    assert everything['scheduling'] == 'real time'
    assert (everything['frames'], everything['missed'], quiet['frames'], quiet['missed']) == (10, 2, 9, 1)
    assert everything['miss_rate'] == pytest.approx(2 / 9, abs=1e-4)
    assert quiet['miss_rate'] == pytest.approx(1 / 8, abs=1e-4)
    assert everything['infeasible_rate'] == 0.1
    assert everything['expected_accuracy'] == pytest.approx((6 * 0.8 + 0.5) / 10)
    assert everything['of_unloaded'] == pytest.approx((6 * 0.8 + 0.5) / 10 / 0.8, abs=1e-4)
    assert everything['others_progress'] == pytest.approx(0.5)
    assert rows[0]['others_progress'] is None
    lines = realtime_table(rows).splitlines()
    assert len(lines) == 2 + len(rows)
    assert len({line.count('|') for line in lines}) == 1


def test_a_short_run_pairs_both_ways_and_leaves_every_thread_ordinary(monkeypatch):
    try:
        schedule(0, 1)
    except (AttributeError, OSError):
        pytest.skip('this process may not schedule in real time (CAP_SYS_NICE, rtprio)')
    schedule(0, 0)
    monkeypatch.setattr(realtime, 'quiet_profiles', lambda classifier: classifier.profiles)
    frames, accuracies, about, rows = compare_models(
        ['clothing10'], {'runtime': 'auto', 'cpu_threads': 2}, ['burn'], 4, 5, rate=20.0
    )
    assert about['models']['clothing10']['cores'] == len(os.sched_getaffinity(0))
    assert len(frames) == 2 * 2 * 4
    budgets = {(each.load, each.policy): [] for each in frames}
    for each in frames:
        budgets[each.load, each.policy].append(each.budget)
    assert set(budgets) == {(load, policy) for load in ('none', 'burn') for policy in (ORDINARY, REAL_TIME)}
    assert len({tuple(each) for each in budgets.values()}) == 1
    assert {each.path for each in frames} <= set(range(-1, len(accuracies['clothing10'])))
    under_load = [row for row in rows if row['load'] == 'burn']
    assert all(row['others_progress'] >= 0 for row in under_load)
    assert {os.sched_getscheduler(tid) for tid in thread_ids()} == {os.SCHED_OTHER}
