import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import STAGES, frame, fused_frame, planner, profile, timing

from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.options import MODES
from impatient_ros.planning.planner import MIN_CHANCE, MIN_CHANCE_SHARED, Plan
from impatient_ros.planning.search import WORTH

positive = st.floats(1e-4, 0.1)
PREPARATION = (0.001, 0.002, 0.004, 0.008)  # s, by resolution


@st.composite
def planners(draw, mode=None):
    exits = draw(st.integers(1, 6))
    several = st.lists(positive, min_size=exits, max_size=exits)
    accuracies = draw(st.lists(st.floats(0, 1), min_size=exits, max_size=exits))
    known = profile(draw(several), draw(several))
    return planner(mode or draw(st.sampled_from(MODES)), accuracies, known)


@st.composite
def ladders(draw):
    """Planners of one to four resolutions."""
    exits, resolutions = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    several = st.lists(positive, min_size=exits, max_size=exits)
    factors = st.lists(st.floats(1, 4), min_size=1, max_size=5)
    known = [spread_profile(draw(factors), profile(draw(several), draw(several))) for _ in range(resolutions)]
    count = exits * resolutions
    accuracies = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    return planner(draw(st.sampled_from(MODES)), accuracies, known)


def spread_profile(factors, known=None):
    """That profile (the usual one) where every path was measured at each of these multiples of its cost."""
    tables = (known or profile()).to_dict()
    for name in ('contract', 'interruptible'):
        tables[name] = [
            [[f * cost for f in factors for cost in cell] for cell in row] for row in tables[name]
        ]
    return LatencyProfile.from_dict(tables)


def fused_profile(saved):
    """The usual profile where a path is cheaper by the share `saved` without stops."""
    tables = profile().to_dict()
    for t in range(1, 4):
        tables['contract'][0][t] = [c * (1 - saved) for c in tables['contract'][0][t]]
    return LatencyProfile.from_dict(tables)


@given(planners(), st.floats(0, 1))
def test_a_protected_exit_fits_the_budget(planner, budget):
    plan = planner.plan(budget)
    if plan.protected is not None:
        assert plan.paths[0] == plan.protected
        assert plan.planned_time <= budget
        assert planner.options.profiles[0].quantile('contract', 0, plan.protected, 0.99) <= budget


@given(planners(), st.floats(0, 1), st.floats(1, 4))
def test_heads_ascend_and_only_an_infeasible_plan_is_empty(planner, budget, slowdown):
    plan = planner.plan(budget, slowdown=slowdown)
    assert list(plan.paths) == sorted(set(plan.paths))
    assert plan.infeasible == (not plan.paths)
    cheapest = min(planner.options.profiles[0].costs('contract', 0.0))
    if planner.options.mode != 'interruptible':
        assert plan.infeasible == (cheapest > budget / slowdown)


@given(planners('contract'), st.floats(0, 1), st.floats(0, 1))
def test_more_budget_never_plans_a_less_accurate_exit(planner, budget, more):
    small, large = planner.plan(budget), planner.plan(budget + more)
    if small.paths and small.protected is not None:
        assert planner.options.accuracies[large.target] >= planner.options.accuracies[small.target]


@given(planners(), st.floats(0, 1), st.data())
def test_with_an_answer_in_hand_only_deeper_exits_that_gain_are_aimed_at(planner, budget, data):
    answered = data.draw(st.integers(0, planner.options.profiles[0].exits - 1))
    plan = planner.plan(budget, position=answered + 1, answered=answered)
    assert not plan.infeasible
    if plan.paths:
        assert plan.paths[0] > answered
        assert planner.options.accuracies[plan.target] > planner.options.accuracies[answered]


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
    assert plan.paths == (1, 2)


def test_adaptive_insures_a_risky_target_and_not_a_safe_one():
    risky = planner('adaptive', known=spread_profile([1.0] * 70 + [1.6] * 30))
    plan = risky.plan(0.045)
    assert plan.target == 3
    assert len(plan.paths) == 2
    assert plan.protected == plan.paths[0] < 3
    # The insurance itself must hold at the quantile: 1.6 times its cost fits.
    assert risky.options.profiles[0].quantile('contract', 0, plan.protected, 0.99) <= 0.045


def test_adaptive_falls_back_to_contract_where_an_insurance_head_costs_too_much():
    dear = profile(STAGES, (0.02, 0.02, 0.02, 0.001))
    assert planner('adaptive', known=dear).plan(0.042).paths == (3,)


def test_an_unlikely_first_exit_is_tried_unprotected():
    unlikely = planner('contract', known=spread_profile([1.0, 1.0, 3.0])).plan(0.012)
    assert unlikely == Plan((0,), protected=None)


@pytest.mark.parametrize(('miss_rate', 'target'), [(0.01, 1), (0.3, 3)])
def test_without_a_protected_path_the_first_one_is_hardly_less_likely_than_the_likeliest(miss_rate, target):
    # In time are 8 of 10 runs to the two deeper exits and 9 of 10 to the others.
    p = planner('contract', known=spread_profile([1.0] * 8 + [2.0, 20.0]))
    p.control.miss_rate = miss_rate
    assert p.plan(0.0465) == Plan((target,))


def test_a_protected_insurance_of_a_target_that_is_too_unlikely_is_no_plan():
    # The second exit is worse than the first one and hardly dearer, so it is only ever an insurance.
    p = planner('adaptive', (0.5, 0.4, 0.6, 0.7), profile((0.010, 0.0002, 0.010, 0.010)))
    for factor in [0.7, 2.0] * 6:  # the first exit is often late, so its margin is wider than the second's
        p.learn([timing([0.0, 0.010 * factor], [(0, 0.011 * factor)])])
    first, second = p.control.margins()[1:3]
    assert second * 0.0112 < 0.032 / p.forecast.slowdown < first * 0.011
    assert p.plan(0.032, min_chance=MIN_CHANCE_SHARED) == Plan((0,))


def test_an_answered_frame_at_the_last_exit_is_done():
    assert planner('interruptible').plan(9.0, position=4, answered=3) == Plan()


def test_a_frame_on_its_way_is_planned_from_where_it_stands():
    # Two stages done, nothing evaluated: exit 1 costs only its head now.
    assert planner('contract').plan(0.0015, position=2).target == 1
    assert planner('contract').plan(0.0111, position=2).target == 2


class TestExhaustiveSearch:
    """A decision looks at as few sets as it can; what looking at all of them finds is hardly better."""

    @staticmethod
    def worth(planner, path_set, found, budget, slowdown):
        """Expected accuracy that a set adds, the chance of its last path, and that of its first one."""
        forecast = planner.forecast
        value, certain, chances = 0.0, 1.0, []
        for gain in path_set.gains:
            path = found.completions[gain.completion]
            left = budget - sum(PREPARATION[r] for r in path.prepares)
            factor = left / slowdown / (path.cost + path.decisions * forecast.decision_cost)
            chances.append(forecast.errors[path.depth].chance(factor))
            certain = min(certain, chances[-1])
            value += certain * gain.accuracy
        return value, certain, chances[0]

    @given(ladders(), st.floats(1e-4, 0.6), st.integers(0, 6), st.booleans(), st.floats(0.5, 3), st.data())
    def test_finds_nothing_better(self, planner, budget, position, answered, slowdown, data):
        T, resolutions = planner.options.exits, len(planner.options.profiles)
        position = min(position, T)
        resolution = data.draw(st.sampled_from([None, *range(resolutions)]))
        done = None
        if resolution is None:
            position = 0
        elif answered and (position or resolution):
            # The head of this pass, or of an earlier one.
            done = resolution * T + position - 1
        for factor in data.draw(st.lists(st.floats(0.5, 4), max_size=30)):
            seen = fused_frame(planner.options.profiles[0].costs('contract')[-1] * factor, last=T - 1)
            seen.deciding = 1e-4
            planner.learn([seen])
        found = planner.options.at(resolution, position, done)
        worths = {s.paths: self.worth(planner, s, found, budget, slowdown) for s in found.path_sets}
        margins = planner.control.margins()
        protected = set()
        for k, index in found.alone.items():
            path = found.completions[index]
            cost = slowdown * (path.cost + path.decisions * planner.forecast.decision_cost)
            left = budget - sum(PREPARATION[r] for r in path.prepares)
            if index in found.starting and cost * margins[path.depth] <= left:
                protected.add(k)
        plan = planner.plan(
            budget,
            resolution=resolution,
            position=position,
            answered=done,
            slowdown=slowdown,
            preparation=PREPARATION,
        )

        likely = [s for s in found.path_sets if not s.optional or worths[s.paths][1] >= MIN_CHANCE]
        if not any(s.paths[0] in protected for s in likely):
            protected = set()  # at most an insurance of what is too unlikely

        likeliest = max((worths[s.paths][2] for s in found.path_sets), default=0.0)
        miss_rate = planner.control.miss_rate

        def allowed(path_set):
            value, certain, first = worths[path_set.paths]
            if path_set.optional and certain < MIN_CHANCE:
                return False
            if done is not None:
                return value > WORTH
            return path_set.paths[0] in protected if protected else 0 < first >= likeliest - miss_rate

        values = [worths[s.paths][0] for s in found.path_sets if allowed(s)]
        if planner.options.mode == 'contract' and protected and done is None:
            # The most accurate one of those that are protected.
            best = max(planner.options.accuracies[k] for k in protected)
            assert planner.options.accuracies[plan.target] == pytest.approx(best, abs=1e-8)
        elif not values:
            assert plan.paths == ()
        else:
            # By no more than WORTH may another one be better.
            assert any(s.paths == plan.paths and allowed(s) for s in found.path_sets)
            assert max(values) - WORTH - 1e-9 <= worths[plan.paths][0]
        assert (plan.protected is not None) == (done is None and bool(protected))

    @given(ladders(), st.floats(0, 0.6))
    def test_a_frame_is_feasible_where_a_plan_finds_something_to_do(self, planner, budget):
        plan = planner.plan(budget, resolution=None, preparation=PREPARATION)
        assert planner.feasible(budget, resolution=None, preparation=PREPARATION) == (not plan.infeasible)


def test_a_frame_stays_feasible_after_one_hiccup():
    p = planner('adaptive')
    p.learn([fused_frame(1.0)])  # 25 times as long as usual
    assert p.feasible(0.0115)
    assert not p.feasible(0.0105)


def test_a_protected_exit_that_is_still_likely_is_kept_though_it_would_not_be_protected_there():
    p = planner('adaptive', known=spread_profile([1.0] * 95 + [3.0] * 5))
    usual = 0.021  # two stages and the head
    assert p.control.margins()[5 + 2] * usual > 1.5 * usual
    assert p.still_likely(3, 1.5 * usual, 1.0, position=2)
    assert not p.still_likely(3, 0.9 * usual, 1.0, position=2)


class TestCheapest:
    """What a frame gets that others wait for."""

    def test_it_is_the_cheapest_exit_protected_where_it_fits(self):
        plan = planner().cheapest(0.012)
        assert plan == Plan((0,), protected=0)
        assert plan.planned_time == pytest.approx(0.011)

    def test_after_some_stages_it_is_the_nearest_one(self):
        assert planner().cheapest(0.002, position=2).paths == (1,)

    def test_it_is_tried_unprotected_where_it_was_ever_that_fast(self):
        p = planner(known=spread_profile([1.0, 1.0, 3.0]))
        assert p.cheapest(0.012) == Plan((0,))
        assert p.cheapest(0.010) == Plan(infeasible=True)
        assert p.cheapest(-1.0) == Plan(infeasible=True)


class TestFusedPaths:
    """Where a runtime can pass boundaries without stopping, and that saves much."""

    @pytest.mark.parametrize(('saved', 'expected'), [(0.2, True), (0.02, False), (0.0, False)])
    def test_they_pay_where_boundaries_cost_much(self, saved, expected):
        p = planner('adaptive', known=fused_profile(saved))
        assert [p.fused(t) for t in range(4)] == [False, expected, expected, expected]

    def test_a_deep_exit_fits_fused_where_step_by_step_it_would_not(self):
        assert planner('adaptive', known=fused_profile(0.3)).plan(0.030).paths == (3,)


def test_an_exit_abandoned_on_its_way_counts_as_an_overrun_at_its_depth_and_one_that_was_passed_does_not():
    def learned(abandoned):
        p = planner('adaptive')
        p.learn([frame(1.0, last=1, heads=())], abandoned)
        return p.control.margins()

    assert learned(3)[4] > learned(None)[4]
    assert learned(1)[2] == learned(None)[2], 'it was seen at that depth'
