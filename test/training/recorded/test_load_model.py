"""training.recorded.load_model: overhead and slowdown, recovered from frames of which everything is known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_bag import drive

from impatient_ros.budgets import Empirical
from impatient_ros.perception.frame_record import FrameRecord, Outcome
from training.recorded.frames import RecordedFrames
from training.recorded.load_model import FEWEST, LoadModel, fit, real_shares
from training.risk.expected_accuracy import chosen_share

PATHS = ((32, 0), (48, 0), (64, 0))
COSTS = (0.004, 0.009, 0.016)
ACCURACIES = (0.5, 0.6, 0.7)


def frames(records: list[FrameRecord]) -> RecordedFrames:
    return RecordedFrames(tuple(records), Counter(), ('front',))


def predicted(model: LoadModel, found: RecordedFrames) -> np.ndarray:
    return chosen_share(model.budgets(found), model.costs(COSTS), ACCURACIES)


@given(st.lists(st.floats(-0.1, 1), min_size=1, max_size=30))
def test_without_overhead_at_slowdown_1_it_predicts_what_the_budgets_alone_do(budgets: list[float]) -> None:
    found = frames([FrameRecord('front', 0, Outcome.missed, budget=budget) for budget in budgets])
    np.testing.assert_array_equal(
        predicted(LoadModel(), found), chosen_share(Empirical(found.budgets), COSTS, ACCURACIES)
    )


@given(
    st.lists(st.tuples(st.floats(0, 0.1), st.floats(0.2, 20)), min_size=1, max_size=20),
    st.builds(
        LoadModel,
        overhead=st.floats(0, 0.02),
        constant=st.floats(0, 3),
        proportional=st.floats(0.1, 3),
        smoothing=st.floats(0, 1),
        spread=st.floats(0, 1),
        growth=st.floats(-0.5, 0.5),
        lost=st.floats(0, 1),
    ),
)
def test_shares_sum_to_one_whatever_the_parameters(
    given_frames: list[tuple[float, float]], model: LoadModel
) -> None:
    found = frames(
        [
            FrameRecord('front', 0, Outcome.missed, budget=budget, planned_exit_index=0, slowdown=slowdown)
            for budget, slowdown in given_frames
        ]
    )
    share = predicted(model, found)
    assert share.sum() == pytest.approx(1)
    assert share[0] >= model.lost - 1e-9


@pytest.mark.parametrize(('overhead', 'slowdown', 'spread'), [(0.0, 1.0, 0.05), (0.003, 1.6, 0.15)])
def test_what_was_fitted_on_the_first_half_holds_for_the_second(
    overhead: float, slowdown: float, spread: float
) -> None:
    robot = {'paths': PATHS, 'costs': COSTS, 'overhead': overhead, 'slowdown': slowdown, 'spread': spread}
    first, second = frames(drive(4000, **robot)).halves()  # type: ignore[arg-type]
    model = fit(first, PATHS, COSTS, ACCURACIES)
    np.testing.assert_allclose(predicted(model, second), real_shares(second, PATHS), atol=0.02)


def test_it_holds_for_another_load_where_the_budgets_alone_mislead() -> None:
    robot = {'paths': PATHS, 'costs': COSTS, 'overhead': 0.003, 'spread': 0.15}
    quiet = frames(drive(3000, **robot, slowdown=1.2))  # type: ignore[arg-type]
    busy = frames(drive(3000, **robot, slowdown=1.8, seed=1))  # type: ignore[arg-type]
    model = fit(quiet, PATHS, COSTS, ACCURACIES)
    real = real_shares(busy, PATHS)
    alone = chosen_share(Empirical(busy.budgets), COSTS, ACCURACIES)
    assert np.abs(alone - real).max() > 0.2
    # Of one load m_0 and m_1 cannot be told apart, so the other one is not met as exactly.
    assert np.abs(predicted(model, busy) - real).max() < 0.06


def test_outcomes_are_used_for_fitting_and_scoring_alone() -> None:
    records = drive(1000, paths=PATHS, costs=COSTS, overhead=0.003, spread=0.1)
    model = fit(frames(records), PATHS, COSTS, ACCURACIES)
    blind = [
        FrameRecord('front', r.stamp, Outcome.missed, budget=r.budget, slowdown=r.slowdown) for r in records
    ]
    np.testing.assert_array_equal(predicted(model, frames(records)), predicted(model, frames(blind)))


def test_a_path_of_which_the_profile_is_wrong_is_corrected() -> None:
    real = (0.004, 0.006, 0.016)  # the profile says 9 ms for the second
    found = frames(drive(3000, paths=PATHS, costs=real, spread=0.05))
    model = fit(found, PATHS, COSTS, ACCURACIES)
    # Overhead and slowdown may share in the correction; what counts is the time that a path needs.
    needs = [model.overhead + (model.constant + model.proportional) * c for c in model.costs(COSTS)]
    assert needs == pytest.approx(real, rel=0.05)
    np.testing.assert_allclose(predicted(model, found), real_shares(found, PATHS), atol=0.02)


def test_a_dominated_path_stays_dominated() -> None:
    paths, costs, accuracies = (
        ((32, 0), (48, 0), (56, 0), (64, 0)),
        (0.004, 0.009, 0.010, 0.016),
        (0.5, 0.6, 0.55, 0.7),
    )
    kept = [k for k in range(4) if k != 2]
    found = frames(drive(1000, paths=[paths[k] for k in kept], costs=[costs[k] for k in kept], spread=0.1))
    model = fit(found, paths, costs, accuracies)
    assert chosen_share(model.budgets(found), model.costs(costs), accuracies)[3] == 0


def test_too_few_frames_are_refused() -> None:
    records = drive(FEWEST - 1, paths=PATHS, costs=COSTS)
    with pytest.raises(ValueError, match=f'{FEWEST} are needed'):
        fit(frames(records), PATHS, COSTS, ACCURACIES)
