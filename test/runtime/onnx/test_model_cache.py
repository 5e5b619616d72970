import pytest

from impatient_ros.runtime.onnx.model_cache import KEPT, model_cache


@pytest.fixture
def environ(tmp_path):
    return {'XDG_CACHE_HOME': str(tmp_path)}


def test_a_model_is_made_once_per_key(environ):
    made = []

    def make():
        made.append(1)
        return b'model %d' % len(made)

    assert model_cache({'checkpoint': 'a'}, environ).read_or_make(make) == (b'model 1', False)
    assert model_cache({'checkpoint': 'a'}, environ).read_or_make(make) == (b'model 1', True)
    assert model_cache({'checkpoint': 'b'}, environ).read_or_make(make) == (b'model 2', False)


@pytest.mark.parametrize('damage', [lambda data: b'', lambda data: data[:-1], lambda data: data[:-1] + b'?'])
def test_a_damaged_file_counts_as_none(environ, damage):
    cached = model_cache({}, environ)
    cached.write(b'a whole model')
    assert cached.read() == b'a whole model'
    cached.path.write_bytes(damage(cached.path.read_bytes()))
    assert cached.read() is None


def test_only_the_latest_files_are_kept(environ):
    for number in range(KEPT + 3):
        model_cache({'number': number}, environ).write(b'model')
    folder = model_cache({}, environ).path.parent
    assert len(list(folder.iterdir())) == KEPT
