import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import HEADS, STAGES, frame, profile

from impatient_ros.planning.forecast import DepthError, Forecast
from impatient_ros.planning.overrun_control import OverrunControl

T = len(STAGES)


def spread_forecast():
    """A forecast that has met errors of 0 to 0.99 at all depths alike, on a machine of slowdown 1."""
    forecast = Forecast([profile()], window=100)
    for window in forecast.errors:
        for i in range(100):
            window.add(0.01 * i)
    return forecast


def log_margins(control):
    return [math.log(margin) for margin in control.margins()]


def test_margins_begin_at_the_quantile_that_the_rate_asks_for():
    forecast = spread_forecast()
    for rate in (0.01, 0.05):
        expected = [window.quantile(1 - rate) for window in forecast.errors]
        assert log_margins(OverrunControl(forecast, rate)) == pytest.approx(expected)


def test_a_depth_that_was_reached_late_gets_more_time_and_the_others_do_not():
    forecast = spread_forecast()
    control = OverrunControl(forecast, 0.01)
    before = log_margins(control)
    control.learn([DepthError(1, 5.0)])
    after = log_margins(control)
    assert after[1] == pytest.approx(before[1] + 0.99 * forecast.errors[1].spread)
    assert (after[0], after[2]) == (before[0], before[2])


def test_overruns_of_protected_exits_give_all_of_them_more_time_and_exits_on_the_way_none():
    control = OverrunControl(spread_forecast(), 0.01)
    before = log_margins(control)
    control.count(overrun=True)
    control.learn([])
    after = log_margins(control)
    assert all(a > b for a, b in zip(after[: T + 1], before[: T + 1], strict=True))
    assert after[T + 1 :] == before[T + 1 :]
    state = control.state()
    assert (state.protected, state.overruns, state.overrun_rate) == (1, 1, 1.0)


def test_an_abandoned_exit_is_an_overrun_at_its_depth():
    forecast = spread_forecast()
    control, without = OverrunControl(forecast, 0.01), OverrunControl(forecast, 0.01)
    control.learn([DepthError(2, 0.0)], abandoned=4)
    without.learn([DepthError(2, 0.0)])
    assert control.margins()[4] > without.margins()[4]
    assert control.margins()[2] == without.margins()[2]


def test_the_additional_margin_passes_while_nothing_is_protected():
    control = OverrunControl(spread_forecast(), 0.01)
    quiet = log_margins(control)[1]
    control.count(overrun=True)
    control.learn([])  # the frame with the protected exit
    at_first = log_margins(control)[1]
    for _ in range(3000):
        control.learn([])
    assert log_margins(control)[1] - quiet < 0.1 * (at_first - quiet)


def test_margins_follow_a_forecast_that_learned_from_another_camera():
    forecast = Forecast([profile()])
    control = OverrunControl(forecast, 0.01)
    before = control.margins()[4]
    for number in range(50):
        forecast.learn(frame(1.3 if number % 2 else 0.8))
    assert control.margins()[4] > before


@given(st.lists(st.floats(0.2, 6), max_size=80), st.floats(0.001, 0.3), st.integers(1, 4))
def test_margins_hold_what_was_late_in_excess_of_the_rate(factors, rate, stages):
    # The law behind the long-run rate: whatever happened, late frames in excess of the rate are in the
    # offset, so an offset that stays bounded means a share of late frames that tends to `rate`.
    forecast = Forecast([profile()])
    control = OverrunControl(forecast, rate, gain=0.3)

    def offset():
        window = forecast.errors[stages]
        return (log_margins(control)[stages] - window.high - forecast.trailing_excess) / window.spread

    before, late = offset(), 0
    for factor in factors:
        cost = sum(STAGES[:stages]) + HEADS[stages - 1]
        planned_time = forecast.slowdown * control.margins()[stages] * cost
        seen = frame(factor, last=stages - 1)
        late += seen.exit_times[-1].time > planned_time * (1 + 1e-9)
        control.learn(forecast.learn(seen))
    excess = late - rate * len(factors)
    assert (offset() - before) / 0.3 == pytest.approx(excess, abs=1.5)


@pytest.mark.parametrize('rate', [0.01, 0.05])
@pytest.mark.parametrize('kind', ['steady', 'drift', 'spread', 'bursts'])
def test_the_rate_is_held_whatever_the_machine_does(rate, kind):
    random = np.random.default_rng(3)
    forecast = Forecast([profile()])
    control = OverrunControl(forecast, rate)
    late = []
    for number in range(8000):
        slowdown, spread = 1.0, 0.1
        if kind == 'drift':
            slowdown = 1.0 + number / 4000
        elif kind == 'spread':
            spread = 0.05 if number % 2000 < 1000 else 0.3
        elif kind == 'bursts':
            slowdown = 2.5 if number % 150 < 12 else 1.0
        late.append(protected_frame(forecast, control, slowdown * float(np.exp(random.normal(0, spread)))))
    assert np.mean(late[500:]) == pytest.approx(rate, abs=0.005)
    assert control.state().protected == 8000
    assert control.state().overrun_rate == np.mean(late)


def protected_frame(forecast, control, factor):
    """A frame whose last exit is protected; returns whether it overran."""
    seen = frame(factor)
    planned_time = forecast.slowdown * control.margins()[T] * (sum(STAGES) + HEADS[-1])
    late = seen.exit_times[-1].time > planned_time
    control.count(overrun=late)
    control.learn(forecast.learn(seen))
    return late


@pytest.mark.parametrize('kind', ['steady', 'bursts'])
def test_cameras_on_one_machine_hold_rates_of_their_own(kind):
    random = np.random.default_rng(5)
    forecast = Forecast([profile()])
    rates = {'front': 0.01, 'rear': 0.1}
    controls = {camera: OverrunControl(forecast, rate) for camera, rate in rates.items()}
    late = {camera: [] for camera in rates}
    for number in range(16000):
        camera = ('front', 'rear')[number % 2]
        slowdown = 2.5 if kind == 'bursts' and number % 300 < 24 else 1.0
        factor = slowdown * float(np.exp(random.normal(0, 0.1)))
        late[camera].append(protected_frame(forecast, controls[camera], factor))
    for camera, rate in rates.items():
        assert np.mean(late[camera][500:]) == pytest.approx(rate, abs=0.005), camera


def test_a_burst_does_not_keep_later_margins_wide():
    random = np.random.default_rng(1)
    forecast = Forecast([profile()])
    control = OverrunControl(forecast, 0.01)

    def run(slowdown, count):
        for _ in range(count):
            control.learn(forecast.learn(frame(slowdown * float(np.exp(random.normal(0, 0.05))))))

    run(1.0, 300)
    before = control.margins()[4]
    run(3.0, 10)
    run(1.0, 15)
    assert forecast.slowdown == pytest.approx(1.0, rel=0.15)
    assert control.margins()[4] / before < 1.6  # and not 3


def test_exits_that_were_not_reached_learn_of_a_change_too():
    forecast = Forecast([profile()])
    control = OverrunControl(forecast, 0.01)
    for _ in range(100):
        control.learn(forecast.learn(frame(2.0, last=0)))
    assert control.margins()[4] < 1.1  # the slowdown has it: no error is left


@given(st.lists(st.floats(0.3, 5), min_size=1, max_size=40))
def test_margins_stay_finite(factors):
    forecast = Forecast([profile()])
    control = OverrunControl(forecast, 0.01)
    for factor in factors:
        control.learn(forecast.learn(frame(factor)))
    assert all(math.isfinite(margin) for margin in control.margins())


def test_of_a_run_that_was_stopped_only_what_is_certain_counts():
    def margin(*errors, abandoned=None):
        control = OverrunControl(spread_forecast(), 0.01)
        control.learn(errors, abandoned)
        return control.margins()[2]

    late, early = DepthError(2, 3.0), DepthError(2, 0.0)
    assert margin(early) < margin() < margin(late)
    assert margin(early._replace(at_least=True)) == margin()
    assert margin(late._replace(at_least=True)) == margin(late)
    assert margin(late._replace(at_least=True), abandoned=2) == margin(late), 'it is one overrun'
