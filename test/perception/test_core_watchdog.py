import pytest

from impatient_ros.perception.core_watchdog import CoreWatchdog, Reading


class Threads:
    """Threads whose time is told instead of measured: each takes a share of one of the cores."""

    def __init__(self, **limits):
        self.now = 100.0
        self._seconds = {}
        self._cores = {}
        self.watchdog = CoreWatchdog(self._read, lambda: self.now, **limits)

    def _read(self):
        return {tid: Reading(seconds, self._cores[tid]) for tid, seconds in self._seconds.items()}

    def run(self, seconds, shares, step=0.125):  # a power of two: sums are exact
        """`shares` of threads by (thread, core); returns whether any look found too much."""
        found = []
        for _ in range(round(seconds / step)):
            self.now += step
            for (tid, core), share in shares.items():
                self._seconds[tid] = self._seconds.get(tid, 5.0) + share * step
                self._cores[tid] = core
            found.append(self.watchdog.look())
        return any(found)


def test_a_thread_that_takes_a_core_for_a_whole_window_is_too_much():
    threads = Threads()
    assert not threads.run(1.0, {(1, 0): 1.0})
    assert threads.run(0.125, {(1, 0): 1.0})
    assert threads.watchdog.busiest == (0, pytest.approx(1.0))


def test_what_leaves_the_others_their_share_is_not():
    assert not Threads().run(20.0, {(1, 0): 0.89, (2, 1): 0.89})


def test_threads_on_one_core_count_together():
    threads = Threads()
    assert threads.run(2.0, {(1, 3): 0.5, (2, 3): 0.45, (3, 0): 0.2})
    assert threads.watchdog.busiest == (3, pytest.approx(0.95))


def test_threads_on_several_cores_do_not():
    assert not Threads().run(5.0, {(1, 0): 0.8, (2, 1): 0.8, (3, 2): 0.8})


def test_one_that_moves_between_two_cores_leaves_half_of_each():
    threads = Threads()
    for _ in range(20):
        assert not threads.run(0.125, {(1, 0): 1.0})
        assert not threads.run(0.125, {(1, 1): 1.0})
    assert threads.watchdog.busiest[1] == pytest.approx(0.5, abs=0.07)


def test_two_that_seem_to_take_more_than_there_is_of_a_core_were_elsewhere_too():
    threads = Threads()
    for _ in range(20):
        assert not threads.run(0.125, {(1, 0): 0.7, (2, 0): 0.7})
        assert not threads.run(0.125, {(1, 0): 0.7, (2, 1): 0.7})
    assert threads.watchdog.busiest == (0, pytest.approx(0.85))


def test_a_burst_shorter_than_the_window_is_let_pass():
    threads = Threads()
    for _ in range(5):
        assert not threads.run(0.75, {(1, 0): 1.0})
        assert not threads.run(0.5, {(1, 0): 0.0})


def test_what_a_thread_took_before_it_was_known_does_not_count():
    threads = Threads()
    threads.run(2.0, {(1, 0): 0.1})
    threads._seconds[2], threads._cores[2] = 1000.0, 0
    assert not threads.run(2.0, {(1, 0): 0.1})


def test_a_thread_that_has_ended_counts_as_long_as_the_window_reaches_back():
    threads = Threads()
    threads.run(1.0, {(1, 0): 0.9})
    del threads._seconds[1]
    threads.run(0.5, {(2, 0): 0.0})
    assert threads.watchdog.busiest == (0, pytest.approx(0.45))
    threads.run(1.0, {(2, 0): 0.0})
    assert threads.watchdog.busiest[1] == 0.0


def test_looks_that_come_late_are_judged_by_the_time_that_passed():
    threads = Threads()
    assert not threads.run(4.0, {(1, 0): 0.6}, step=2.0)
    assert threads.watchdog.busiest == (0, pytest.approx(0.6))
    assert threads.run(2.0, {(1, 0): 0.95}, step=2.0)


def test_a_limit_of_one_is_never_exceeded_by_one_core():
    threads = Threads(limit=1.0)
    assert not threads.run(10.0, {(1, 0): 1.0})


def test_limit_and_window_are_as_given():
    assert Threads(limit=0.5, window=0.25).run(0.5, {(1, 0): 0.6})
    assert not Threads(limit=0.5, window=2.0).run(2.0, {(1, 0): 0.6})
    assert Threads(limit=0.5, window=2.0).run(2.125, {(1, 0): 0.6})


def test_without_threads_there_is_nothing_to_find():
    threads = Threads()
    assert not threads.run(3.0, {})
    assert threads.watchdog.busiest == (0, 0.0)
