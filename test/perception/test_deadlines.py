"""By when a frame must be answered: fixed, control loop, topic; faulty stamps; clocks that jump back."""

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.perception.deadlines import FUTURE_TOLERANCE_NS, Deadlines, last_tick, stamp_fault
from impatient_ros.perception.parameter_values import node_definitions
from impatient_ros.perception.settings import BudgetParameters

MS = 1_000_000
SECOND = 1_000_000_000
NOW = 1_764_000_000 * SECOND  # seconds since 1970, where floats get coarse

FIXED = BudgetParameters(source='fixed', fixed=0.1)
LOOP = BudgetParameters(source='control_loop', control_period=0.1)
TOPIC = BudgetParameters(source='topic', fixed=0.05)


def deadline(budget, stamp, arrival=NOW, now=None, deadlines=None, camera='front'):
    return (deadlines or Deadlines()).of(camera, stamp, arrival, budget, arrival if now is None else now)


def test_the_module_needs_no_ros():
    code = (
        'import sys, impatient_ros.perception.deadlines\n'
        'sys.exit(any(m.startswith("rclpy") for m in sys.modules))'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_a_fixed_deadline_counts_from_the_stamp_so_transport_is_already_gone():
    found = deadline(FIXED, NOW - 30 * MS)
    assert found.at_ns == NOW + 70 * MS
    assert found.fault is None
    assert found.budget(NOW) == pytest.approx(0.070, abs=1e-9)
    assert found.budget(NOW + 80 * MS) == pytest.approx(-0.010, abs=1e-9)


def test_the_next_tick_of_the_control_loop_uses_the_frame():
    assert deadline(LOOP, NOW - 30 * MS).at_ns == NOW
    assert deadline(LOOP, NOW + 1).at_ns == NOW + 100 * MS


def test_a_frame_stamped_on_a_tick_is_for_the_next_one():
    assert deadline(LOOP, NOW).at_ns == NOW + 100 * MS


def test_the_last_tick_counts_at_which_the_frame_is_young_enough():
    assert deadline(replace(LOOP, max_age=0.35), NOW - 20 * MS).at_ns == NOW + 300 * MS
    assert deadline(replace(LOOP, max_age=0.05), NOW - 20 * MS).at_ns == NOW


def test_a_frame_that_no_tick_can_use_in_time_has_no_budget_left():
    found = deadline(replace(LOOP, max_age=0.05), NOW + 5 * MS, arrival=NOW + 10 * MS)
    assert found.budget(NOW + 10 * MS) < 0


def test_the_phase_moves_the_ticks():
    assert deadline(replace(LOOP, control_phase=0.03), NOW).at_ns == NOW + 30 * MS
    assert deadline(replace(LOOP, control_phase=1.73), NOW).at_ns == NOW + 30 * MS
    assert deadline(replace(LOOP, control_phase=-0.07), NOW).at_ns == NOW + 30 * MS


@pytest.mark.parametrize('period', [0.1, 0.05, 0.02, 0.01, 0.2, 0.004])
def test_a_timer_of_whole_nanoseconds_and_the_ticks_agree_exactly_after_half_a_century(period):
    ticks = NOW // round(period * SECOND) * round(period * SECOND)
    assert last_tick(ticks + 1, replace(LOOP, control_period=period)) == ticks + round(period * SECOND)


periods = st.one_of(
    st.sampled_from([0.1, 0.05, 0.033, 1 / 30, 1 / 3, 1 / 60, 0.001, 2.5]), st.floats(0.001, 100)
)


@given(
    reference=st.integers(0, 4_000_000_000 * SECOND),
    period=periods,
    phase=st.one_of(st.just(0.0), st.floats(-10, 10), st.floats(0, 1.8e9)),
    max_age=st.one_of(st.just(0.0), st.floats(0, 10)),
)
def test_ticks_are_exact_at_any_time_since_1970(reference, period, phase, max_age):
    budget = BudgetParameters(
        source='control_loop', control_period=period, control_phase=phase, max_age=max_age
    )
    at = last_tick(reference, budget)
    exact = Fraction(repr(period)) * SECOND
    oldest = reference + Fraction(repr(budget.age_limit)) * SECOND
    assert at <= oldest + 1  # not too old there ...
    assert at + exact > oldest - 2  # ... and too old one tick later, up to rounding to nanoseconds
    offset = (at - Fraction(repr(phase)) * SECOND) % exact
    assert min(offset, exact - offset) <= 2  # on a tick


def test_an_announced_deadline_holds_until_it_passes():
    deadlines = Deadlines()
    deadlines.announce(NOW + 80 * MS)
    assert deadline(TOPIC, NOW, deadlines=deadlines).at_ns == NOW + 80 * MS
    assert deadline(TOPIC, NOW, now=NOW + 79 * MS, deadlines=deadlines).at_ns == NOW + 80 * MS
    after = deadline(TOPIC, NOW + 80 * MS, arrival=NOW + 80 * MS, deadlines=deadlines)
    assert after.at_ns == NOW + 130 * MS
    assert after.fallback
    assert after.fault == 'no_deadline'


def test_the_announcement_applies_to_a_frame_that_arrived_before_it():
    deadlines = Deadlines()
    assert deadline(TOPIC, NOW, deadlines=deadlines).fallback
    deadlines.announce(NOW + 200 * MS, 'front')
    found = deadline(TOPIC, NOW, now=NOW + 5 * MS, deadlines=deadlines)
    assert found.at_ns == NOW + 200 * MS
    assert not found.fallback


def announced(deadlines, camera, now=NOW):
    """What was announced for a camera and still lies ahead."""
    found = deadline(TOPIC, NOW, now=now, deadlines=deadlines, camera=camera)
    return None if found.fallback else found.at_ns


def test_the_latest_announcement_for_the_camera_or_for_all_counts():
    deadlines = Deadlines()
    deadlines.announce(NOW + 10 * MS, 'front')
    deadlines.announce(NOW + 20 * MS)
    assert announced(deadlines, 'front') == NOW + 20 * MS
    assert announced(deadlines, 'rear') == NOW + 20 * MS
    deadlines.announce(NOW + 15 * MS, 'front')
    assert announced(deadlines, 'front') == NOW + 15 * MS
    assert announced(deadlines, 'rear') == NOW + 20 * MS
    assert announced(deadlines, 'front', NOW + 16 * MS) == NOW + 20 * MS  # its own has passed


def test_another_cameras_deadline_does_not_count():
    deadlines = Deadlines()
    deadlines.announce(NOW + 10 * MS, 'rear')
    assert announced(deadlines, 'front') is None


def test_a_stamp_of_zero_takes_the_announcement_back():
    deadlines = Deadlines()
    deadlines.announce(NOW + 10 * MS)
    deadlines.announce(0)
    assert announced(deadlines, 'front') is None


def test_announcements_are_ignored_unless_they_are_the_source():
    deadlines = Deadlines()
    deadlines.announce(NOW + 10 * MS)
    assert deadline(FIXED, NOW, deadlines=deadlines).at_ns == NOW + 100 * MS


@pytest.mark.parametrize(
    ('stamp', 'fault'),
    [
        (NOW, None),
        (0, 'zero_stamp'),
        (-5, 'zero_stamp'),
        (NOW + FUTURE_TOLERANCE_NS, None),
        (NOW + FUTURE_TOLERANCE_NS + 1, 'future_stamp'),
        (NOW - SECOND, None),
        (NOW - SECOND - 1, 'stale_stamp'),
    ],
)
def test_a_faulty_stamp_is_named(stamp, fault):
    assert stamp_fault(stamp, NOW, stale_after=1.0) == fault


@pytest.mark.parametrize('stamp', [0, NOW + SECOND, NOW - 2 * SECOND])
@pytest.mark.parametrize('budget', [FIXED, LOOP, TOPIC], ids=lambda budget: budget.source)
def test_the_arrival_stands_in_for_a_faulty_stamp(budget, stamp):
    arrival = NOW + 7 * MS
    faulty, sound = deadline(budget, stamp, arrival), deadline(budget, arrival, arrival)
    assert faulty.at_ns == sound.at_ns
    assert faulty.fault is not None
    assert faulty.fault.endswith('_stamp')  # before no_deadline


@pytest.mark.parametrize('source', node_definitions()['budget.source'].choices)
def test_every_source_that_can_be_set_gives_a_deadline(source):
    deadlines = Deadlines()
    deadlines.announce(NOW + 50 * MS)
    found = deadline(BudgetParameters(source=source), NOW, deadlines=deadlines)
    assert NOW < found.at_ns <= NOW + 100 * MS
    assert found.fault is None


def test_how_old_is_stale_can_be_set():
    assert deadline(replace(FIXED, stale_after=5.0), NOW - 2 * SECOND).fault is None


def test_nothing_is_stuck_after_the_clock_jumped_back():
    deadlines = Deadlines()
    deadlines.announce(NOW + 10 * MS)
    deadlines.reset()
    back = NOW - 3600 * SECOND
    assert announced(deadlines, 'front', back) is None
    # A frame stamped before the jump counts from now on, not from an hour ahead.
    found = deadline(FIXED, NOW, arrival=back, deadlines=deadlines)
    assert found.fault == 'future_stamp'
    assert found.budget(back) == pytest.approx(0.1)


def with_steps(*steps_ns):
    deadlines = Deadlines()
    for step_ns in steps_ns:
        deadlines.clock_advanced(step_ns)
    return deadlines


def test_with_simulated_time_a_stamp_may_be_one_step_of_the_clock_ahead():
    # The first step leads to the simulation's time, and one message was lost.
    tenths = with_steps(NOW, *[100 * MS] * 5, 200 * MS, *[100 * MS] * 4)
    assert deadline(FIXED, NOW + 100 * MS, deadlines=tenths).fault is None
    assert deadline(FIXED, NOW + 100 * MS, deadlines=tenths).at_ns == NOW + 200 * MS
    assert deadline(FIXED, NOW + 101 * MS, deadlines=tenths).fault == 'future_stamp'


def test_steps_below_the_tolerance_of_clocks_do_not_narrow_it():
    fast = with_steps(*[MS] * 20)
    assert deadline(FIXED, NOW + FUTURE_TOLERANCE_NS, deadlines=fast).fault is None


def test_few_steps_say_nothing_about_the_clock_nor_do_those_before_a_jump():
    assert deadline(FIXED, NOW + 50 * MS, deadlines=with_steps(NOW, 100 * MS)).fault == 'future_stamp'
    jumped = with_steps(*[100 * MS] * 20)
    jumped.reset()
    assert deadline(FIXED, NOW + 50 * MS, deadlines=jumped).fault == 'future_stamp'
