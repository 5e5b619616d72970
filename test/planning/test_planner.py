import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import ACCURACIES, HEADS, STAGES, profile

from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.options import choice
from impatient_ros.planning.planner import LEAST_CHANCE, MODES, Plan, Planner

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


class TestPlainSearch:
    """A decision looks at as little as it can; it must find what looking at everything finds."""

    @staticmethod
    def worth(planner, option, found, budget, position, level):
        """Expected accuracy that a set adds, the chance of its last head, and that of its first one."""
        forecast = planner.forecast
        value, certain, chances = 0.0, 1.0, []
        for part, gain in option.gains:
            stages, cost, looks = found.completions[part]
            times = budget / level / (cost + looks * forecast.look)
            chances.append(forecast.errors(position)[stages].chance(times))
            certain = min(certain, chances[-1])
            value += certain * gain
        return value, certain, chances[0]

    @given(planners(), st.floats(1e-4, 0.6), st.integers(0, 6), st.booleans(), st.floats(0.5, 3), st.data())
    def test_finds_nothing_better(self, planner, budget, position, answered, level, data):
        T = planner.profile.exits
        position = min(position, T)
        done = position - 1 if answered and position else None
        for factor in data.draw(st.lists(st.floats(0.5, 4), max_size=30)):
            costs = planner.profile.costs('contract')
            planner.forecast.learn([0.0, *[math.nan] * T], [(T - 1, costs[-1] * factor)], decided=1e-4)
        found = choice(planner.mode, planner.profile, planner.accuracies, position, done)
        worths = {o.heads: self.worth(planner, o, found, budget, position, level) for o in found.options}
        margins = planner.forecast.margins(position)
        safe = {
            found.first + i
            for i, (stages, cost, looks) in enumerate(found.alone)
            if (cost + looks * planner.forecast.look) * margins[stages] <= budget / level
        }
        plan = planner.plan(budget, position=position, answered=done, slowdown=level)

        def allowed(option):
            value, certain, first = worths[option.heads]
            if option.gamble and certain < LEAST_CHANCE:
                return False
            if done is not None:
                return value > 1e-9
            return option.heads[0] in safe if safe else first > 0

        values = [worths[o.heads][0] for o in found.options if allowed(o)]
        if planner.mode == 'contract' and safe and done is None:
            # The most accurate one of those that are protected.
            best = max(planner.accuracies[head] for head in safe)
            assert planner.accuracies[plan.target] == pytest.approx(best, abs=1e-8)
        elif not values:
            assert plan.heads == ()
        else:
            assert plan.heads in worths
            assert worths[plan.heads][0] == pytest.approx(max(values), abs=1e-8)
        assert (plan.protected is not None) == (done is None and bool(safe))

    @given(planners(), st.floats(0, 0.6))
    def test_a_frame_is_feasible_where_a_plan_finds_something_to_do(self, planner, budget):
        assert planner.feasible(budget) == (not planner.plan(budget).infeasible)


def test_a_frame_stays_feasible_after_one_hiccup():
    p = planner('adaptive')
    marks, heads = [0.0, *[math.nan] * 4], [(3, 1.0)]  # 25 times as long as usual
    p.forecast.learn(marks, heads)
    assert p.feasible(0.0115)
    assert not p.feasible(0.0105)


def test_a_promise_that_is_likely_to_be_kept_is_kept_though_it_would_not_be_made_there():
    p = planner('adaptive', spread=[1.0] * 95 + [3.0] * 5)
    usual = 0.021  # two stages and the head
    assert p.forecast.margins(2)[2] * usual > 1.5 * usual
    assert p.holds(3, 1.5 * usual, 2, 1.0)
    assert not p.holds(3, 0.9 * usual, 2, 1.0)


class TestInOneGo:
    """Where a runtime can pass boundaries without stopping, and that saves much."""

    @staticmethod
    def fused(saved):
        stepwise = profile().to_dict()
        for t in range(1, 4):
            stepwise['contract'][0][t] = [c * (1 - saved) for c in stepwise['contract'][0][t]]
        return LatencyProfile.from_dict(stepwise)

    @pytest.mark.parametrize(('saved', 'expected'), [(0.2, True), (0.02, False), (0.0, False)])
    def test_it_pays_where_boundaries_cost_much(self, saved, expected):
        p = Planner(self.fused(saved), ACCURACIES, 'adaptive')
        assert [p.in_one_go(t) for t in range(4)] == [False, expected, expected, expected]

    def test_a_deep_exit_in_one_go_fits_where_step_by_step_it_would_not(self):
        p = Planner(self.fused(0.3), ACCURACIES, 'adaptive')
        assert p.plan(0.030).heads == (3,)
