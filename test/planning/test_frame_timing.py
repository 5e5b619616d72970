import math

import pytest
from simulation import timing

from impatient_ros.planning.frame_timing import FrameTiming, observed_boundaries

NAN = math.nan


def places(boundary_times, exit_times):
    found = observed_boundaries(timing(boundary_times, exit_times))
    return [(b.position, b.previous, b.completed, b.evaluated, b.calls) for b in found]


class TestObservedBoundaries:
    def test_stages_and_heads_by_themselves_are_calls_of_their_own(self):
        assert places([0.0, 1.0, 2.0], [(1, 2.5)]) == [(1, 0, 1.0, False, 1), (2, 1, 2.5, True, 3)]

    def test_a_stage_with_its_head_is_one_call(self):
        assert places([0.0, NAN, NAN], [(0, 1.0), (1, 2.0)]) == [(1, 0, 1.0, True, 1), (2, 1, 2.0, True, 2)]

    def test_boundaries_that_were_passed_without_a_stop_are_not_observed(self):
        assert places([0.0, NAN, NAN, NAN], [(2, 3.0)]) == [(3, 0, 3.0, True, 1)]

    def test_a_frame_that_went_nowhere_has_none(self):
        assert places([0.0], []) == places([], []) == places([0.0, NAN], []) == []


class TestFrameTiming:
    def test_what_is_noted_is_counted_from_the_start(self):
        frame = FrameTiming(start=100.0)
        frame.decided(100.5)
        frame.stages_ended(begun=100.5, now=102.5, position=1)
        frame.decided(102.6)
        assert frame.exit_ended(0, 103.0) == 3.0
        assert frame.boundary_times == [0.0, 2.5]
        assert frame.exit_times == [(0, 3.0)]
        assert (frame.stages, frame.deciding) == (2.0, pytest.approx(0.6))

    def test_a_fused_path_has_no_boundaries_and_its_head_is_no_stage(self):
        frame = FrameTiming(start=100.0)
        frame.stages_ended(begun=100.0, now=104.0, position=3, head_cost=0.5)
        assert frame.boundary_times[0] == 0.0
        assert all(math.isnan(each) for each in frame.boundary_times[1:])
        assert len(frame.boundary_times) == 4
        assert frame.stages == 3.5

    def test_an_abandoned_frame_ends_when_what_was_launched_has_ended(self):
        frame = FrameTiming(start=100.0)
        frame.stages_ended(begun=100.0, now=100.1, position=1)  # launched on a device, not executed yet
        frame.abandoned(103.0)
        assert frame.boundary_times == [0.0, 3.0]
