from xml.etree import ElementTree

import pytest

from impatient_ros.ros.environment import (
    CAMERA_PROFILE,
    NODE_PROFILE,
    shared_memory_problem,
    transport_environment,
)

PROFILES = {'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'}
MALLOC = {'MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_'}


MIB = 1024 * 1024


def without_sizes(file):
    """The profile's elements and texts in order, those that a segment's size is, and the size."""
    elements = list(ElementTree.parse(file).iter())
    sizes = {e for e in elements if e.tag.endswith(('}segment_size', '}maxMessageSize'))}
    [size] = {int(e.text) for e in sizes}
    return [(e.tag, (e.text or '').strip()) for e in elements if e not in sizes], size


def test_an_empty_environment_gets_the_profile_and_the_thresholds():
    assert set(transport_environment({})) == PROFILES | MALLOC
    cameras, node = (
        without_sizes(transport_environment({}, profile)['FASTDDS_DEFAULT_PROFILES_FILE'])
        for profile in (CAMERA_PROFILE, NODE_PROFILE)
    )
    assert (cameras[1], node[1]) == (64 * MIB, 16 * MIB)
    assert cameras[0] == node[0]


@pytest.mark.parametrize('profile', [CAMERA_PROFILE, NODE_PROFILE])
def test_of_our_own_profiles_each_process_has_its_own(profile):
    for inherited in (CAMERA_PROFILE, NODE_PROFILE):
        added = transport_environment(transport_environment({}, inherited), profile)
        assert added == {name: transport_environment({}, profile)[name] for name in PROFILES}


def test_a_profile_that_is_set_stays_under_either_name():
    for name in PROFILES:
        assert set(transport_environment({name: '/mine.xml'})) == MALLOC


def test_a_threshold_that_is_set_stays():
    assert 'MALLOC_TRIM_THRESHOLD_' not in transport_environment({'MALLOC_TRIM_THRESHOLD_': '1'})
    assert 'MALLOC_MMAP_THRESHOLD_' in transport_environment({'MALLOC_TRIM_THRESHOLD_': '1'})


def test_an_empty_value_counts_as_not_set():
    assert set(transport_environment(dict.fromkeys(PROFILES, ''))) == PROFILES | MALLOC


def test_transports_that_are_chosen_by_name_are_respected():
    assert set(transport_environment({'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'})) == MALLOC
    assert set(transport_environment({'FASTDDS_BUILTIN_TRANSPORTS': ''})) == PROFILES | MALLOC


class Memory:
    f_frsize = 4096

    def __init__(self, size):
        self.f_blocks = size // self.f_frsize


def test_shared_memory_that_is_too_small_for_our_profiles_is_named(monkeypatch, tmp_path):
    ours = transport_environment({}, NODE_PROFILE)
    monkeypatch.setattr('os.statvfs', lambda folder: Memory(64 * MIB))
    problem = shared_memory_problem(ours)
    assert '/dev/shm has 67 MB' in problem
    assert 'need 88: make it larger (docker run --shm-size=256m)' in problem
    assert shared_memory_problem({'FASTRTPS_DEFAULT_PROFILES_FILE': '/mine.xml'}) == ''
    assert shared_memory_problem({}) == ''
    monkeypatch.setattr('os.statvfs', lambda folder: Memory(128 * MIB))
    assert shared_memory_problem(ours) == ''
    monkeypatch.undo()
    assert 'mount a tmpfs there' in shared_memory_problem(ours, tmp_path / 'none')
