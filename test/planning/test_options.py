import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import ACCURACIES, profile

from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.options import MODES, OptionTable

places = st.tuples(st.integers(0, 4), st.sampled_from([None, 0, 1, 2, 3]))


def candidates(mode, position=0, answered=None, known=None):
    return OptionTable(mode, known or profile(), ACCURACIES).at(position, answered)


def heads(mode, position=0, answered=None):
    return {each.heads for each in candidates(mode, position, answered).head_sets}


def test_the_modes_differ_in_their_sets():
    assert heads('contract') == {(0,), (1,), (2,), (3,)}
    assert heads('interruptible') == {(0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)}
    assert heads('adaptive') == heads('contract') | {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


@given(st.sampled_from(MODES), places)
def test_heads_that_are_behind_or_done_are_in_no_set(mode, place):
    position, answered = place
    least = max(0, position - 1, 0 if answered is None else answered + 1)
    assert all(min(each) >= least for each in heads(mode, position, answered))


@given(st.sampled_from(MODES), places)
def test_costs_grow_with_the_heads_and_gains_add_up_to_the_best_of_them(mode, place):
    position, answered = place
    found = candidates(mode, position, answered)
    base = 0.0 if answered is None else ACCURACIES[answered]
    assert [s.max_gain for s in found.head_sets] == sorted(
        (s.max_gain for s in found.head_sets), reverse=True
    )
    for each in found.head_sets:
        costs = [found.completions[gain.completion].cost for gain in each.gains]
        assert costs == sorted(costs)
        best = max(ACCURACIES[head] for head in each.heads)
        assert each.max_gain == pytest.approx(max(0.0, best - base))
        assert each.optional == (len(each.heads) > 1 or answered is not None)


@given(st.sampled_from(MODES), places)
def test_heads_alone_come_first_and_start_a_set(mode, place):
    found = candidates(mode, *place)
    assert found.completions[: len(found.single)] == found.single
    assert found.single[: len(found.starting)] == found.starting
    assert {each.first for each in found.head_sets} == set(range(len(found.starting)))
    for each in found.head_sets:
        assert each.heads[0] == found.first + each.first
        assert each.heads[-1] == found.first + each.last


def test_decisions_are_counted_one_before_everything_that_is_executed():
    tables = profile().to_dict()
    for t in range(1, 4):  # much quicker without stops
        tables['contract'][0][t] = [0.8 * c for c in tables['contract'][0][t]]
    found = candidates('adaptive', known=LatencyProfile.from_dict(tables))
    decisions = {s.heads: found.completions[s.gains[-1].completion].decisions for s in found.head_sets}
    assert decisions[0,] == decisions[3,] == 1, 'fused'
    assert decisions[0, 3] == decisions[1, 3] == 4
    found = candidates('adaptive', 2)
    decisions = {s.heads: found.completions[s.gains[-1].completion].decisions for s in found.head_sets}
    assert (decisions[1,], decisions[2,], decisions[3,]) == (1, 1, 2)


@pytest.mark.parametrize(('mode', 'accuracies'), [('fast', ACCURACIES), ('contract', (0.1,))])
def test_wrong_arguments_are_refused(mode, accuracies):
    with pytest.raises(ValueError, match=r'write one of|give one per exit'):
        OptionTable(mode, profile(), accuracies)
