import pytest

from impatient_ros.planning.error_window import Errors
from impatient_ros.planning.overrun_control import Promises


def family():
    return [Errors([0.01 * i for i in range(100)], 200) for _ in range(3)]


def test_they_begin_at_the_quantile_that_the_rate_asks_for():
    errors = family()
    for rate in (0.01, 0.05):
        margins = Promises(errors, rate, gain=1.0).margins(errors)
        assert margins == pytest.approx([e.quantile(1 - rate) for e in errors])


def test_a_depth_that_was_reached_late_gets_more_time_and_the_others_do_not():
    errors = family()
    promises = Promises(errors, 0.01, gain=1.0)
    before = promises.margins(errors)
    promises.reached(1, late=True)
    after = promises.margins(errors)
    assert after[1] == pytest.approx(before[1] + 0.99 * errors[1].spread)
    assert (after[0], after[2]) == (before[0], before[2])


def test_promises_that_come_late_make_all_of_them_more_cautious():
    errors = family()
    promises = Promises(errors, 0.01, gain=1.0)
    before = promises.margins(errors)
    promises.made_one(late=True)
    assert all(a > b for a, b in zip(promises.margins(errors), before, strict=True))
    assert promises.margins(errors, caution=False) == before
    assert (promises.made, promises.late) == (1, 1)


def test_caution_passes_while_nothing_is_promised():
    errors = family()
    promises = Promises(errors, 0.01, gain=1.0)
    promises.made_one(late=True)
    promises.next_frame()  # the one with the promise
    at_first = promises.margins(errors)
    for _ in range(3000):
        promises.next_frame()
    quiet = promises.margins(errors, caution=False)
    assert promises.margins(errors)[1] - quiet[1] < 0.1 * (at_first[1] - quiet[1])
