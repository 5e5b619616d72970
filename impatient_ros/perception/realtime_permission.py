"""Why this process may not schedule in real time, and the line to add somewhere so that it may."""

from __future__ import annotations

import getpass
import resource
from pathlib import Path

from impatient_ros.runtime.machine import control_group_folders

__all__ = ['permission_advice']


def permission_advice(priority: int, root: Path = Path('/')) -> str:
    """What to do where SCHED_FIFO with that priority was refused; looks for the reason below `root`."""
    stopped = root / 'proc/sys/kernel/sched_rt_runtime_us'
    if _text(stopped) == '0':
        return 'the kernel grants real-time threads no time: sysctl -w kernel.sched_rt_runtime_us=950000'
    for folder in control_group_folders(root):
        if _text(folder / 'cpu.rt_runtime_us') == '0':
            return (
                'its control group grants real-time threads no time: write microseconds such as 500000 into '
                f'{folder / "cpu.rt_runtime_us"} and those of the groups above it'
            )
    if not _limit_suffices(priority):
        return (
            f"add '{_user()} - rtprio {priority}' to /etc/security/limits.conf and log in anew, or "
            f"'LimitRTPRIO={priority}' to the systemd unit, or give it CAP_SYS_NICE (docker run "
            f'--cap-add=SYS_NICE)'
        )
    return 'its limits would permit it: a security policy (seccomp, AppArmor, SELinux) forbids it'


def _limit_suffices(priority: int) -> bool:
    limit, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    return limit == resource.RLIM_INFINITY or limit >= priority


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no entry for it, as in many containers
        return '<user>'


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8').strip()
    except OSError:
        return ''
