"""Growth and miss rates: what is told from chance, and what is not."""

import os
import random

import pytest
from endurance.measures import differ, growth, miss_rate, resources_of


def outcomes(misses, frames, seed=0):
    drawn = ['missed'] * misses + ['answered'] * (frames - misses)
    random.Random(seed).shuffle(drawn)
    return drawn


def test_growth_is_the_slope_that_outliers_do_not_move():
    sizes = [100.0 + 2 * time for time in range(20)]
    sizes[7] = 100_000.0
    slope, grown = growth(range(20), sizes)
    assert slope == pytest.approx(2, rel=0.01)
    assert grown == pytest.approx(38, rel=0.01)
    assert growth([1.0], [5.0]) == (0.0, 0.0)


def test_frames_that_were_not_tried_do_not_count():
    rate = miss_rate(['answered', 'late', 'superseded', 'missed', 'dropped', 'infeasible'])
    assert (rate.misses, rate.tried, rate.rate) == (2, 3, pytest.approx(2 / 3))


@pytest.mark.parametrize(
    ('before', 'after', 'expected'), [(0, 0, False), (0, 2, False), (5, 9, False), (2, 60, True)]
)
def test_more_misses_than_chance_explains(before, after, expected):
    rates = [miss_rate(outcomes(misses, 600, seed)) for seed, misses in enumerate((before, after))]
    assert differ(*rates) is expected


def test_misses_in_one_burst_tell_less_than_as_many_here_and_there():
    burst = ['answered'] * 300 + ['missed'] * 30 + ['answered'] * 270
    none = miss_rate(outcomes(0, 600))
    assert miss_rate(burst).error > 1.5 * miss_rate(outcomes(30, 600)).error
    assert not differ(none, miss_rate(burst))
    assert differ(none, miss_rate(outcomes(30, 600)))


def test_of_no_frames_nothing_is_said():
    assert not differ(miss_rate([]), miss_rate(outcomes(1, 600)))


def test_resources_of_a_process():
    found = resources_of(os.getpid(), 1.0)
    assert 0 < found.private <= found.rss
    assert found.pss <= found.rss
    assert found.threads >= 1
    with open(os.devnull):
        assert resources_of(os.getpid(), 1.0).files == found.files + 1
