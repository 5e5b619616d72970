from xml.etree import ElementTree

from impatient_ros.ros.environment import transport_environment

PROFILES = {'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'}
MALLOC = {'MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_'}


def test_an_empty_environment_gets_the_profile_and_the_thresholds():
    added = transport_environment({})
    assert set(added) == PROFILES | MALLOC
    segments = ElementTree.parse(added['FASTDDS_DEFAULT_PROFILES_FILE']).findall('.//{*}segment_size')
    assert [int(segment.text) for segment in segments] == [64 * 1024 * 1024]


def test_a_profile_that_is_set_stays_under_either_name():
    for name in PROFILES:
        assert set(transport_environment({name: '/mine.xml'})) == MALLOC


def test_a_threshold_that_is_set_stays():
    assert 'MALLOC_TRIM_THRESHOLD_' not in transport_environment({'MALLOC_TRIM_THRESHOLD_': '1'})
    assert 'MALLOC_MMAP_THRESHOLD_' in transport_environment({'MALLOC_TRIM_THRESHOLD_': '1'})


def test_an_empty_value_counts_as_not_set():
    assert set(transport_environment(dict.fromkeys(PROFILES, ''))) == PROFILES | MALLOC
