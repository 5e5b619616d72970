import pytest
from simulation import ACCURACIES, frame, profile

from impatient_ros.planning.planners import Planners


def test_cameras_share_the_machine_and_nothing_else():
    planners = Planners([profile()], ACCURACIES)
    front, rear = planners.planner('front', 'adaptive', 0.01), planners.planner('rear', 'contract', 0.05)
    assert front.forecast is rear.forecast
    front.control.count(overrun=True)
    front.learn([frame(2.0)])
    assert planners.planner('front', 'contract', 0.01).control is front.control
    assert (front.control.state().overruns, rear.control.state().overruns) == (1, 0)
    state = planners.state()
    assert state.slowdown > 1.0
    assert state.error == pytest.approx(1.0)
    assert {camera: each.protected for camera, each in state.cameras.items()} == {'front': 1, 'rear': 0}


def test_the_mode_and_the_miss_rate_are_those_of_the_frame():
    planners = Planners([profile()], ACCURACIES)
    assert planners.planner('', 'interruptible', 0.01).plan(0.033 + 1e-9).paths == (0, 1, 2)
    planner = planners.planner('', 'contract', 0.2)
    assert planner.plan(0.033 + 1e-9).paths == (2,)
    assert planner.control.miss_rate == 0.2


def test_before_the_first_frame_there_is_nothing_to_tell():
    state = Planners([profile()], ACCURACIES).state()
    assert (state.slowdown, state.error, state.cameras) == (1.0, None, {})


def test_one_accuracy_per_path_is_asked_for():
    with pytest.raises(ValueError, match='give one per path'):
        Planners([profile()], (0.1,))
