import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.planning.slowdown import LARGEST, STRIDE, Level


def test_one_frame_moves_it_no_further_than_a_stride():
    level = Level(follow=0.4)
    level.learn(3.0, usual=0.1)
    assert level.now == STRIDE
    assert level.least < 0.1 * STRIDE + 1e-9


def test_two_frames_that_agree_move_it_as_far_as_both_do():
    level = Level(follow=0.4)
    level.learn(1.0, usual=0.1)
    level.learn(1.0, usual=0.1)
    assert level.now == pytest.approx(1.0)


def test_frames_that_disagree_are_no_change():
    level = Level(follow=0.4)
    for _ in range(20):
        level.learn(1.0, usual=0.1)
        level.learn(-1.0, usual=0.1)
    assert abs(level.now) <= 2 * STRIDE


@given(st.lists(st.floats(-20, 20), max_size=50))
def test_it_stays_bounded_and_the_least_is_no_more_than_it(frames):
    level = Level(follow=0.4)
    for shown in frames:
        level.learn(shown, usual=0.1)
        assert math.fabs(level.now) <= LARGEST
        assert level.least <= level.now
