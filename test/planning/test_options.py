import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import ACCURACIES, profile

from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.options import MODES, OptionTable, undominated

places = st.tuples(st.integers(0, 4), st.sampled_from([None, 0, 1, 2, 3]))


def candidates(mode, position=0, answered=None, known=None):
    return OptionTable(mode, [known or profile()], ACCURACIES).at(0, position, answered)


def paths(mode, position=0, answered=None):
    return {each.paths for each in candidates(mode, position, answered).path_sets}


def ladder(mode, accuracies, costs, exits=1):
    """Options of resolutions with one cost (s) each; exits at equal parts of it."""
    known = [profile([cost / exits] * exits, [1e-6] * exits) for cost in costs]
    return OptionTable(mode, known, accuracies)


def sets(table, resolution=None, position=0, answered=None):
    return {each.paths for each in table.at(resolution, position, answered).path_sets}


def test_the_modes_differ_in_their_sets():
    assert paths('contract') == {(0,), (1,), (2,), (3,)}
    assert paths('interruptible') == {(0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)}
    assert paths('adaptive') == paths('contract') | {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


@given(st.sampled_from(MODES), places)
def test_paths_that_are_behind_or_done_are_in_no_set(mode, place):
    position, answered = place
    least = max(0, position - 1, 0 if answered is None else answered + 1)
    assert all(min(each) >= least for each in paths(mode, position, answered))


@given(st.sampled_from(MODES), places)
def test_costs_grow_with_the_paths_and_gains_add_up_to_the_best_of_them(mode, place):
    position, answered = place
    found = candidates(mode, position, answered)
    base = 0.0 if answered is None else ACCURACIES[answered]
    order = [(len(s.paths) > 1, -s.max_gain) for s in found.path_sets]
    assert order == sorted(order), 'single paths first'
    for each in found.path_sets:
        costs = [found.completions[gain.completion].cost for gain in each.gains]
        assert costs == sorted(costs)
        best = max(ACCURACIES[path] for path in each.paths)
        assert each.max_gain == pytest.approx(max(0.0, best - base))
        assert each.optional == (len(each.paths) > 1 or answered is not None)


@given(st.sampled_from(MODES), places)
def test_every_set_knows_its_first_and_last_path_alone(mode, place):
    found = candidates(mode, *place)
    assert sorted(found.alone.values()) == list(range(len(found.alone)))
    assert {each.first for each in found.path_sets} == set(found.starting)
    for each in found.path_sets:
        assert (each.first, each.last) == (found.alone[each.paths[0]], found.alone[each.paths[-1]])


@given(st.sampled_from(MODES), places)
def test_what_a_search_walks_through_are_the_same_sets(mode, place):
    found = candidates(mode, *place)
    walk = found.walk
    assert len(walk.alone) == len(found.alone)
    assert [paths for _, _, paths in walk.singles] == [s.paths for s in found.path_sets if len(s.paths) == 1]
    walked = [(most, last, *row) for most, last, _, group in walk.groups for row in group]
    several = [s for s in found.path_sets if len(s.paths) > 1]
    assert len(walked) == len(several)
    for (most, last, first, first_gain, more_gain, (gain, more, paths)), each in zip(
        walked, several, strict=True
    ):
        assert most >= gain == each.max_gain == pytest.approx(first_gain + more_gain)
        assert (paths, first, last, first_gain) == (each.paths, each.first, each.last, each.gains[0].accuracy)
        assert more == tuple((g.completion, g.accuracy) for g in each.gains[1:])


def test_decisions_are_counted_one_before_everything_that_is_executed():
    tables = profile().to_dict()
    for t in range(1, 4):  # much quicker without stops
        tables['contract'][0][t] = [0.8 * c for c in tables['contract'][0][t]]
    found = candidates('adaptive', known=LatencyProfile.from_dict(tables))
    decisions = {s.paths: found.completions[s.gains[-1].completion].decisions for s in found.path_sets}
    assert decisions[0,] == decisions[3,] == 1, 'fused'
    assert decisions[0, 3] == decisions[1, 3] == 4
    found = candidates('adaptive', 2)
    decisions = {s.paths: found.completions[s.gains[-1].completion].decisions for s in found.path_sets}
    assert (decisions[1,], decisions[2,], decisions[3,]) == (1, 1, 2)


@pytest.mark.parametrize(('mode', 'accuracies'), [('fast', ACCURACIES), ('contract', (0.1,))])
def test_wrong_arguments_are_refused(mode, accuracies):
    with pytest.raises(ValueError, match=r'write one of|give one per path'):
        OptionTable(mode, [profile()], accuracies)


class TestResolutions:
    """Three resolutions of one exit each, the middle one dominated or not."""

    def test_a_dominated_path_is_never_aimed_at(self):
        table = ladder('adaptive', [0.5, 0.4, 0.8], [0.010, 0.020, 0.040])
        assert sets(table) == {(0,), (2,), (0, 2)}
        assert sets(ladder('contract', [0.5, 0.4, 0.8], [0.010, 0.020, 0.040])) == {(0,), (2,)}

    def test_a_target_is_insured_by_a_whole_pass_or_by_an_exit_on_its_way(self):
        # The first exit of the large pass is dominated: as an insurance it costs only its head.
        table = ladder('adaptive', [0.3, 0.6, 0.4, 0.9], [0.010, 0.040], exits=2)
        assert sets(table) == {(0,), (1,), (3,), (0, 1), (1, 3), (2, 3)}

    def test_each_pass_prepares_the_picture_for_itself(self):
        found = ladder('adaptive', [0.3, 0.6, 0.9], [0.010, 0.020, 0.040]).at(None, 0, None)
        prepares = {s.paths: found.completions[s.gains[-1].completion].prepares for s in found.path_sets}
        assert prepares[0, 2] == (0, 2)
        assert prepares[1,] == (1,)
        found = ladder('adaptive', [0.3, 0.6, 0.9], [0.010, 0.021, 0.043]).at(1, 0, None)
        prepares = {s.paths: found.completions[s.gains[-1].completion].prepares for s in found.path_sets}
        assert prepares == {(0,): (0,), (1,): (), (0, 1): (0, 1), (1, 2): (2,), (0, 2): (0, 2)}

    def test_after_an_answer_only_passes_of_higher_resolution_that_gain_are_left(self):
        table = ladder('adaptive', [0.3, 0.6, 0.9], [0.010, 0.021, 0.043])
        assert sets(table, 1, 1, 1) == {(2,)}
        assert sets(table, 2, 1, 2) == set()
        assert sets(table, 0, 1, 0) == {(1,), (2,), (1, 2)}

    def test_a_pass_is_not_given_up_for_a_dearer_one_before_it_has_answered(self):
        table = ladder('adaptive', [0.3, 0.6, 0.4, 0.9], [0.010, 0.040], exits=2)
        assert sets(table, 0, 0, None) == {(0,), (1,), (0, 1), (1, 3)}
        assert sets(table, 0, 1, None) == {(0,), (1,), (0, 1), (1, 3)}
        assert sets(table, 0, 2, None) == {(1,), (1, 3)}
        assert sets(table, 0, 2, 1) == {(3,)}

    def test_an_insurance_costs_at_most_half_of_its_target(self):
        table = ladder('adaptive', [0.3, 0.6, 0.9], [0.010, 0.015, 0.031])
        assert sets(table) == {(0,), (1,), (2,), (0, 2), (1, 2)}

    def test_on_its_way_every_exit_of_the_pass_may_become_the_answer(self):
        table = ladder('contract', [0.3, 0.6, 0.4, 0.9], [0.010, 0.040], exits=2)
        assert sets(table, 1, 1, None) == {(2,), (3,)}

    def test_interruptible_passes_about_double_in_cost_and_end_with_the_best(self):
        table = ladder('interruptible', [0.1, 0.2, 0.3, 0.4, 0.5], [0.010, 0.014, 0.029, 0.040, 0.060])
        assert table.sequence == (0, 2, 4)
        assert sets(table) == {(0,), (0, 2), (0, 2, 4)}
        assert sets(table, 2, 1, 2) == {(4,)}

    def test_interruptible_passes_evaluate_the_exits_that_pay(self):
        table = ladder('interruptible', [0.3, 0.6, 0.4, 0.9], [0.010, 0.040], exits=2)
        assert table.sequence == (0, 1, 3)

    def test_interruptible_passes_evaluate_no_exit_that_does_not_pay(self):
        table = ladder('interruptible', [0.6, 0.4, 0.7, 0.9], [0.010, 0.040], exits=2)
        assert table.sequence == (0, 2, 3)
        assert sets(table, 0, 1, 0) == {(2,), (2, 3)}

    def test_interruptible_ends_with_the_best_answer_even_at_a_lower_resolution(self):
        # The first exit of the largest pass is undominated, since a whole middle pass costs more.
        table = ladder('interruptible', [0.1, 0.2, 0.3, 0.9, 0.5, 0.6], [0.010, 0.018, 0.020], exits=2)
        assert table.sequence == (0, 1, 2, 3)


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 1)), min_size=1, max_size=9))
def test_what_is_undominated_is_worth_its_cost_and_everything_else_is_not(pairs):
    costs, accuracies = zip(*pairs, strict=True)
    kept = undominated(costs, accuracies)
    for k in range(len(pairs)):
        better = [j for j in kept if costs[j] <= costs[k] and accuracies[j] >= accuracies[k]]
        assert (better == [k]) if k in kept else better
