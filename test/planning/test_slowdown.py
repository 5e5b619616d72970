import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.planning.slowdown import MAX_LOG, MAX_STEP, SlowdownEstimate


def test_one_frame_moves_it_no_further_than_one_step():
    estimate = SlowdownEstimate(weight=0.4)
    estimate.learn(3.0, usual_error=0.1)
    assert estimate.now == MAX_STEP
    assert estimate.optimistic < 0.1 * MAX_STEP + 1e-9


def test_two_frames_that_agree_move_it_as_far_as_both_do():
    estimate = SlowdownEstimate(weight=0.4)
    estimate.learn(1.0, usual_error=0.1)
    estimate.learn(1.0, usual_error=0.1)
    assert estimate.now == pytest.approx(1.0)


def test_frames_that_disagree_are_no_change():
    estimate = SlowdownEstimate(weight=0.4)
    for _ in range(20):
        estimate.learn(1.0, usual_error=0.1)
        estimate.learn(-1.0, usual_error=0.1)
    assert abs(estimate.now) <= 2 * MAX_STEP


@given(st.lists(st.floats(-20, 20), max_size=50))
def test_it_stays_bounded_and_the_optimistic_one_is_no_more_than_it(frames):
    estimate = SlowdownEstimate(weight=0.4)
    for shown in frames:
        estimate.learn(shown, usual_error=0.1)
        assert math.fabs(estimate.now) <= MAX_LOG
        assert estimate.optimistic <= estimate.now
