import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import ACCURACIES, HEADS, STAGES, profile

from impatient_ros.latency import LatencyProfile
from impatient_ros.planner import MODES, Plan, Planner

positive = st.floats(1e-4, 0.1)


@st.composite
def planners(draw, mode=None):
    exits = draw(st.integers(1, 6))
    several = st.lists(positive, min_size=exits, max_size=exits)
    accuracies = draw(st.lists(st.floats(0, 1), min_size=exits, max_size=exits))
    return Planner(
        LatencyProfile.from_costs(draw(several), draw(several)),
        accuracies,
        mode or draw(st.sampled_from(MODES)),
    )


def planner(mode, accuracies=ACCURACIES, spread=None):
    if spread is None:
        return Planner(profile(), accuracies, mode)
    contract = [[[] for _ in range(4)] for _ in range(5)]
    interruptible = [[[] for _ in range(4)] for _ in range(4)]
    for factor in spread:
        for t in range(4):
            for p in range(t + 2):
                contract[p][t].append(factor * (sum(STAGES[p : t + 1]) + HEADS[t]))
            for p in range(t + 1):
                interruptible[p][t].append(factor * (sum(STAGES[p : t + 1]) + sum(HEADS[p : t + 1])))
    return Planner(LatencyProfile(contract, interruptible), accuracies, mode)


@given(planners(), st.floats(0, 1))
def test_a_protected_exit_fits_the_budget(planner, budget):
    plan = planner.plan(budget)
    if plan.protected is not None:
        assert plan.heads[0] == plan.protected
        assert planner.profile.quantile('contract', 0, plan.protected, 0.99) <= budget


@given(planners(), st.floats(0, 1), st.floats(1, 4))
def test_heads_ascend_and_only_an_infeasible_plan_is_empty(planner, budget, slowdown):
    plan = planner.plan(budget, slowdown=slowdown)
    assert list(plan.heads) == sorted(set(plan.heads))
    assert plan.infeasible == (not plan.heads)
    cheapest = min(planner.profile.costs('contract', 0.0))
    if planner.mode != 'interruptible':
        assert plan.infeasible == (cheapest > budget / slowdown)


@given(planners('contract'), st.floats(0, 1), st.floats(0, 1))
def test_more_budget_never_plans_a_less_accurate_exit(planner, budget, more):
    small, large = planner.plan(budget), planner.plan(budget + more)
    if small.heads and small.protected is not None:
        assert planner.accuracies[large.target] >= planner.accuracies[small.target]


@given(planners(), st.floats(0, 1), st.data())
def test_with_an_answer_in_hand_only_deeper_exits_that_gain_are_aimed_at(planner, budget, data):
    answered = data.draw(st.integers(0, planner.profile.exits - 1))
    plan = planner.plan(budget, position=answered + 1, answered=answered)
    assert not plan.infeasible
    if plan.heads:
        assert plan.heads[0] > answered
        assert planner.accuracies[plan.target] > planner.accuracies[answered]


@pytest.mark.parametrize(('budget', 'target'), [(0.012, 0), (0.021, 1), (0.0409, 2), (0.041, 3), (9.0, 3)])
def test_contract_takes_the_deepest_exit_that_fits(budget, target):
    assert planner('contract').plan(budget + 1e-9) == Plan((target,), protected=target)


def test_a_deeper_exit_that_is_worse_is_not_chosen():
    assert planner('contract', accuracies=(0.5, 0.7, 0.6, 0.65)).plan(1.0).target == 1


def test_budget_below_the_first_exit_is_infeasible():
    for mode in MODES:
        assert planner(mode).plan(0.0109) == Plan(infeasible=True)
        assert planner(mode).plan(-1.0) == Plan(infeasible=True)


def test_slowdown_shrinks_what_fits():
    assert planner('contract').plan(0.042).target == 3
    assert planner('contract').plan(0.042, slowdown=2.0).target == 1


def test_interruptible_evaluates_every_head_on_the_way():
    assert planner('interruptible').plan(0.033 + 1e-9) == Plan((0, 1, 2), protected=0)


def test_interruptible_goes_on_with_the_next_head_after_an_answer():
    plan = planner('interruptible').plan(0.025, position=1, answered=0)
    assert plan.heads == (1, 2)


def test_adaptive_insures_a_risky_target_and_not_a_safe_one():
    risky = planner('adaptive', spread=[1.0] * 70 + [1.6] * 30)
    plan = risky.plan(0.045)
    assert plan.target == 3
    assert len(plan.heads) == 2
    assert plan.protected == plan.heads[0] < 3
    # The insurance itself must hold at the quantile: 1.6 times its cost fits.
    assert risky.profile.quantile('contract', 0, plan.protected, 0.99) <= 0.045


def test_adaptive_falls_back_to_contract_where_an_insurance_head_costs_too_much():
    dear = LatencyProfile.from_costs(STAGES, (0.02, 0.02, 0.02, 0.001))
    assert Planner(dear, ACCURACIES, 'adaptive').plan(0.042).heads == (3,)


def test_an_unlikely_first_exit_is_tried_without_a_promise():
    hopeful = planner('contract', spread=[1.0, 1.0, 3.0]).plan(0.012)
    assert hopeful == Plan((0,), protected=None)


def test_waiting_frames_stop_a_frame_that_gains_little():
    p = planner('adaptive')
    assert p.plan(1.0, position=1, answered=0).target == 3
    assert p.plan(1.0, position=1, answered=0, delay_price=100.0).heads == ()


def test_an_answered_frame_at_the_last_exit_is_done():
    assert planner('interruptible').plan(9.0, position=4, answered=3) == Plan()


def test_a_frame_on_its_way_is_planned_from_where_it_stands():
    # Two stages done, nothing evaluated: exit 1 costs only its head now.
    assert planner('contract').plan(0.0015, position=2).target == 1
    assert planner('contract').plan(0.0111, position=2).target == 2


@pytest.mark.parametrize(
    'options', [{'mode': 'fast'}, {'miss_rate': 0.0}, {'miss_rate': 1.5}, {'accuracies': (0.1,)}]
)
def test_wrong_arguments_are_refused(options):
    with pytest.raises(ValueError, match=r'write|give'):
        Planner(profile(), **{'accuracies': ACCURACIES, **options})
