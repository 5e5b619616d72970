import os

import pytest

from impatient_ros.runtime import machine
from impatient_ros.runtime.machine import usable_cores


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A machine with four processors, its files below a folder; returns how to write them."""
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1, 2, 3})

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path

    write('proc/self/cgroup', '0::/\n')
    return write


def test_without_quota_every_processor_that_the_process_may_run_on_counts(system, monkeypatch):
    root = system('sys/fs/cgroup/cpu.max', 'max 100000\n')
    assert usable_cores(root) == 4
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {2})
    assert usable_cores(root) == 1


def test_two_hardware_threads_of_one_core_count_once(system):
    for processor in range(4):
        first = processor // 2 * 2
        root = system(
            f'sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list', f'{first}-{first + 1}\n'
        )
    assert usable_cores(root) == 2


@pytest.mark.parametrize(
    ('quota', 'cores'), [('200000 100000', 2), ('150000 100000', 1), ('20000 100000', 1), ('max 100000', 4)]
)
def test_the_quota_of_a_container_limits_them(system, quota, cores):
    root = system('sys/fs/cgroup/cpu.max', quota)
    assert usable_cores(root) == cores


def test_the_tightest_group_on_the_way_up_counts(system):
    system('proc/self/cgroup', '0::/system.slice/robot.service\n')
    system('sys/fs/cgroup/system.slice/cpu.max', '200000 100000')
    root = system('sys/fs/cgroup/system.slice/robot.service/cpu.max', '300000 100000')
    assert usable_cores(root) == 2


def test_groups_of_version_1_count_too(system):
    system('proc/self/cgroup', '5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n0::/\n')
    system('sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us', '300000')
    root = system('sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us', '100000')
    assert usable_cores(root) == 3
    system('sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us', '-1')
    assert usable_cores(root) == 4


def test_a_driver_that_is_missing_or_fails_has_no_devices(monkeypatch):
    class Driver:
        @staticmethod
        def cuInit(_):
            return 100  # CUDA_ERROR_NO_DEVICE

    monkeypatch.setattr(machine.ctypes, 'CDLL', lambda name: Driver)
    assert machine.cuda_devices() == 0

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(machine.ctypes, 'CDLL', missing)
    assert machine.cuda_devices() == 0
