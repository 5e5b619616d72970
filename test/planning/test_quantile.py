import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.planning.quantile import quantile

samples = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60).map(sorted)


@given(samples, st.floats(0, 1))
def test_it_is_that_of_numpy(ordered, probability):
    assert quantile(ordered, probability) == pytest.approx(np.quantile(ordered, probability), abs=1e-9)


def test_one_sample_is_every_quantile():
    assert [quantile([3.0], p) for p in (0.0, 0.4, 1.0)] == [3.0] * 3
