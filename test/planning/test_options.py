import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import ACCURACIES, profile

from impatient_ros.planning.options import MODES, choice

places = st.tuples(st.integers(0, 4), st.sampled_from([None, 0, 1, 2, 3]))


def heads(mode, position=0, answered=None):
    return {option.heads for option in choice(mode, profile(), ACCURACIES, position, answered).options}


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
    found = choice(mode, profile(), ACCURACIES, position, answered)
    base = 0.0 if answered is None else ACCURACIES[answered]
    assert [o.most for o in found.options] == sorted((o.most for o in found.options), reverse=True)
    for option in found.options:
        costs = [found.completions[part][1] for part, _ in option.gains]
        assert costs == sorted(costs)
        best = max(ACCURACIES[head] for head in option.heads)
        assert option.most == pytest.approx(max(0.0, best - base))
        assert option.gamble == (len(option.heads) > 1 or answered is not None)


def test_decisions_are_counted_one_before_everything_that_is_executed():
    found = choice('adaptive', profile(), ACCURACIES, 0, None, (False, True, True, True))
    looks = {o.heads: found.completions[o.gains[-1][0]][2] for o in found.options}
    assert looks[0,] == looks[3,] == 1, 'in one go'
    assert looks[0, 3] == looks[1, 3] == 4
    stepwise = choice('adaptive', profile(), ACCURACIES, 2, None)
    looks = {o.heads: stepwise.completions[o.gains[-1][0]][2] for o in stepwise.options}
    assert (looks[1,], looks[2,], looks[3,]) == (1, 1, 2)
