import json

import pytest
from simulation import profile

from impatient_ros.planning.profile_cache import cached_profile


def test_second_use_measures_nothing(tmp_path):
    environ = {'XDG_CACHE_HOME': str(tmp_path)}
    made = []

    def make():
        made.append(1)
        return profile()

    first, cached = cached_profile({'machine': 'a'}, make, environ=environ)
    assert not cached
    second, cached = cached_profile({'machine': 'a'}, make, environ=environ)
    assert cached
    assert len(made) == 1
    assert second.to_dict() == first.to_dict()
    assert not cached_profile({'machine': 'b'}, make, environ=environ)[1]
    assert not cached_profile({'machine': 'a'}, make, environ=environ, refresh=True)[1]


@pytest.mark.parametrize(
    'content', ['', '{', '[]', '{"key": {"machine": "a"}, "profile": {"format": 0}}', 'null']
)
def test_a_broken_cache_file_is_measured_again(tmp_path, content):
    environ = {'XDG_CACHE_HOME': str(tmp_path)}
    cached_profile({'machine': 'a'}, profile, environ=environ)
    [path] = (tmp_path / 'impatient_ros' / 'latency').iterdir()
    path.write_text(content)
    assert not cached_profile({'machine': 'a'}, profile, environ=environ)[1]
    assert json.loads(path.read_text())['key'] == {'machine': 'a'}


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    found, cached = cached_profile({}, profile, environ={'XDG_CACHE_HOME': str(tmp_path / 'file')})
    assert not cached
    assert found.exits == 4
