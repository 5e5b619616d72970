import math

from impatient_ros.planning.frame_timing import waypoints

NAN = math.nan


def places(marks, heads):
    return [(w.position, w.since, w.done, w.head, w.pieces) for w in waypoints(marks, heads)]


def test_stages_and_heads_by_themselves_are_pieces_of_their_own():
    assert places([0.0, 1.0, 2.0], [(1, 2.5)]) == [(1, 0, 1.0, False, 1), (2, 1, 2.5, True, 3)]


def test_a_stage_with_its_head_is_one_piece():
    assert places([0.0, NAN, NAN], [(0, 1.0), (1, 2.0)]) == [(1, 0, 1.0, True, 1), (2, 1, 2.0, True, 2)]


def test_what_was_passed_in_one_go_is_no_waypoint():
    assert places([0.0, NAN, NAN, NAN], [(2, 3.0)]) == [(3, 0, 3.0, True, 1)]


def test_a_frame_that_went_nowhere_has_none():
    assert waypoints([0.0], []) == waypoints([], []) == waypoints([0.0, NAN], []) == []
