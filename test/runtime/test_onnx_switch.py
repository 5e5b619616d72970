import numpy as np
import pytest

from impatient_ros.runtime.onnx_switch import Models, codes, pieces


@pytest.mark.parametrize('exits', [1, 2, 5, 9])
def test_the_switches_lead_to_exactly_one_piece_each(exits):
    found = codes(exits)
    assert set(found) == {key for key in pieces(exits) if key[0] != 'path'}
    assert len({tuple(taken) for taken in found.values()}) == len(found)
    assert len({len(taken) for taken in found.values()}) == 1


def test_models_survive_the_cache():
    models = Models(
        {'switch': b'graph', 'path_0': b'\0\1'},
        {'switch': ['w0', 'w1'], 'path_0': []},
        {'w0': np.arange(6, dtype=np.float32).reshape(2, 3), 'w1': np.array([1, 2], np.int64)},
    )
    again = Models.from_bytes(models.to_bytes())
    assert (again.graphs, again.uses) == (models.graphs, models.uses)
    assert all(np.array_equal(again.weights[name], value) for name, value in models.weights.items())
    assert [value.dtype for value in again.weights.values()] == [np.float32, np.int64]
