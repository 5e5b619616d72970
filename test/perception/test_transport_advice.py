"""Lost images: what can be done depends on the middleware and on how large they are."""

import pytest

from impatient_ros.perception.transport_advice import Transport

VGA, SMALL = 921_600, 30_000


def test_large_images_over_fast_dds_need_the_profile_in_the_driver():
    advice = Transport('rmw_fastrtps_cpp', '/share/fastdds.xml').advice(VGA)
    assert 'images of 0.9 MB' in advice
    assert 'export FASTRTPS_DEFAULT_PROFILES_FILE=/share/fastdds.xml' in advice


def test_what_is_wrong_with_shared_memory_is_said_with_it():
    transport = Transport(shared_memory='/dev/shm is too small')
    assert transport.advice(VGA).endswith('; /dev/shm is too small')
    assert '/dev/shm' not in transport.advice(SMALL)


@pytest.mark.parametrize('rmw', ['rmw_cyclonedds_cpp', 'rmw_zenoh_cpp'])
def test_another_middleware_is_called_by_its_name_and_gets_no_profile_of_fast_dds(rmw):
    advice = Transport(rmw).advice(VGA)
    assert rmw in advice
    assert 'net.core.rmem_max' in advice
    assert 'FASTRTPS' not in advice


@pytest.mark.parametrize('rmw', ['rmw_fastrtps_cpp', 'rmw_cyclonedds_cpp'])
def test_small_images_are_lost_for_other_reasons(rmw):
    advice = Transport(rmw).advice(SMALL)
    assert 'overloaded' in advice
    assert 'FASTRTPS' not in advice
    assert 'rmem_max' not in advice
