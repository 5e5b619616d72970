import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import HEADS, STAGES, Clock, SimulatedRuntime, profile

from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.profiling import measure

seconds = st.floats(1e-5, 1.0)


def measured(**options):
    clock = Clock()
    runtime = SimulatedRuntime(clock)
    [found] = measure([lambda: runtime.start(np.zeros((1, 3, 4, 4)))], 4, clock, **options)
    return found, runtime


def test_measured_profile_of_a_steady_machine_is_its_costs():
    found, _ = measured(rounds=4)
    for t in range(4):
        assert found.costs('contract')[t] == pytest.approx(sum(STAGES[: t + 1]) + HEADS[t])
        assert found.costs('interruptible')[t] == pytest.approx(sum(STAGES[: t + 1]) + sum(HEADS[: t + 1]))
        assert found.quantile('contract', t + 1, t, 0.5) == pytest.approx(HEADS[t])
    assert found.quantile('interruptible', 2, 3, 0.9) == pytest.approx(
        STAGES[2] + STAGES[3] + HEADS[2] + HEADS[3]
    )


def test_contract_runs_evaluate_one_head_only():
    _, runtime = measured(rounds=1, min_rounds=1, warm_up=0)
    assert runtime.log[:2] == ['stage 0', 'exit 0']
    assert runtime.log[2:5] == ['stage 0', 'stage 1', 'exit 1']


def test_measuring_ends_at_its_time_limit_but_makes_the_min_rounds():
    reports = []
    found, _ = measured(rounds=1000, time_limit=0.0, min_rounds=3, progress=lambda s, t: reports.append(s))
    with_more, _ = measured(rounds=1000, time_limit=1.0)
    assert len(found._tables['contract'][0][0]) == 3
    assert 3 < len(with_more._tables['contract'][0][0]) < 20
    assert reports == sorted(reports)
    assert reports[-1] == 1.0


@given(st.lists(seconds, min_size=1, max_size=6), st.data())
def test_what_remains_never_grows_on_the_way(stages, data):
    heads = data.draw(st.lists(seconds, min_size=len(stages), max_size=len(stages)))
    p = profile(stages, heads)
    for t in range(p.exits):
        remaining = [p.quantile('contract', s, t, 0.5) for s in range(t + 2)]
        assert remaining == sorted(remaining, reverse=True)
        assert p.quantile('interruptible', 0, t, 0.5) >= remaining[0] - 1e-12


@given(st.lists(seconds, min_size=2, max_size=40))
def test_quantiles_are_linear_between_samples(samples):
    p = LatencyProfile([[samples], [samples]], [[samples]])
    assert p.quantile('contract', 0, 0, 0.0) == min(samples)
    assert p.quantile('contract', 0, 0, 1.0) == max(samples)
    assert math.isclose(p.quantile('contract', 0, 0, 0.3), np.quantile(samples, 0.3), rel_tol=1e-9)


def test_expected_cost_of_a_set_of_heads():
    p = profile()
    assert p.expected_cost(0, (3,)) == pytest.approx(sum(STAGES) + HEADS[3])
    assert p.expected_cost(0, (1, 3)) == pytest.approx(sum(STAGES) + HEADS[1] + HEADS[3])
    assert p.expected_cost(0, (0, 1, 2, 3)) == pytest.approx(sum(STAGES) + sum(HEADS))


@pytest.mark.parametrize(
    'tables',
    [([], []), ([[[0.1]]], [[[0.1]]]), ([[[]], [[0.1]]], [[[0.1]]]), ([[[0.1]], [[-1]]], [[[0.1]]])],
)
def test_tables_that_do_not_fit_are_refused(tables):
    with pytest.raises(ValueError):
        LatencyProfile(*tables)


def test_a_stored_profile_in_which_an_exit_costs_nothing_is_refused():
    tables = profile().to_dict()
    tables['interruptible'][0] = [[0.0] for _ in tables['interruptible'][0]]
    with pytest.raises(ValueError, match='costs nothing'):
        LatencyProfile.from_dict(tables)


def test_boundaries_cost_what_a_fused_path_saves():
    tables = profile().to_dict()
    assert [LatencyProfile.from_dict(tables).boundary_overhead(t) for t in range(4)] == pytest.approx(
        [0.0] * 4
    )
    tables['contract'][0][3] = [c / 1.25 for c in tables['contract'][0][3]]
    assert LatencyProfile.from_dict(tables).boundary_overhead(3) == pytest.approx(0.25)


def test_heads_on_the_way_end_a_fused_path():
    tables = profile().to_dict()
    tables['contract'][0][3] = [0.001]  # much faster than step by step
    p = LatencyProfile.from_dict(tables)
    assert p.expected_cost(0, (3,)) == 0.001
    assert p.expected_cost(0, (0, 3)) == pytest.approx(p.expected_cost(0, (0,)) + p.expected_cost(1, (3,)))


def test_stages_alone_cost_less_fused_than_with_stops():
    tables = profile().to_dict()
    tables['contract'][0][3] = [0.031]
    fused, stepwise = LatencyProfile.from_dict(tables).cumulative_stage_costs()
    assert fused == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.03])
    assert stepwise == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.04])


def test_samples_are_plain_floats_whatever_they_are_given_as():
    known = LatencyProfile([[[np.float64(0.1)]], [[np.float64(0.01)]]], [[[np.float64(0.1)]]])
    assert type(known.expected_cost(0, [0])) is float
