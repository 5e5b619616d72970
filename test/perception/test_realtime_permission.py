import resource

import pytest

from impatient_ros.perception.realtime_permission import permission_advice


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A machine whose files are below a folder and permit everything; returns how to write them."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path

    write('proc/sys/kernel/sched_rt_runtime_us', '950000\n')
    write('proc/self/cgroup', '4:cpu,cpuacct:/robot/node\n0::/\n')
    monkeypatch.setattr(resource, 'getrlimit', lambda _: (0, 0))
    return write


def test_a_limit_that_is_too_low_is_raised_by_a_line(system, tmp_path):
    advice = permission_advice(11, tmp_path)
    assert "- rtprio 11' to /etc/security/limits.conf" in advice
    assert "'LimitRTPRIO=11'" in advice
    assert 'CAP_SYS_NICE' in advice


@pytest.mark.parametrize('limit', [11, resource.RLIM_INFINITY])
def test_where_the_limit_suffices_something_else_forbids_it(system, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(resource, 'getrlimit', lambda _: (limit, limit))
    advice = permission_advice(11, tmp_path)
    assert 'rtprio' not in advice
    assert 'seccomp' in advice


def test_a_kernel_that_grants_no_time_is_named_first(system):
    root = system('proc/sys/kernel/sched_rt_runtime_us', '0\n')
    assert 'sysctl -w kernel.sched_rt_runtime_us=' in permission_advice(11, root)


@pytest.mark.parametrize('group', ['robot/node', 'robot'])
def test_a_control_group_that_grants_no_time_is_named_by_its_file(system, group):
    system('sys/fs/cgroup/cpu,cpuacct/robot/node/cpu.rt_runtime_us', '950000\n')
    root = system(f'sys/fs/cgroup/cpu,cpuacct/{group}/cpu.rt_runtime_us', '0\n')
    assert str(root / f'sys/fs/cgroup/cpu,cpuacct/{group}/cpu.rt_runtime_us') in permission_advice(11, root)


def test_a_control_group_that_grants_some_is_not_to_blame(system):
    root = system('sys/fs/cgroup/cpu,cpuacct/robot/node/cpu.rt_runtime_us', '500000\n')
    assert 'limits.conf' in permission_advice(11, root)
