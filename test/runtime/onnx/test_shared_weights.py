import numpy as np

from impatient_ros.runtime.onnx.shared_weights import Models


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
