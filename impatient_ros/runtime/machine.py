"""What latencies depend on besides the network: the processor, and how much of it this process may use."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    'control_group_folders',
    'cuda_devices',
    'permitted_processors',
    'process_memory',
    'processor_flags',
    'processor_name',
    'usable_cores',
]


def processor_name() -> str:
    """The processor as people call it."""
    return _cpuinfo('model name') or platform.processor()


def processor_flags() -> frozenset[str] | None:
    """What an x86 processor can do, as Linux names it; None for others, or where the system does not say."""
    flags = _cpuinfo('flags')
    return frozenset(flags.split()) if flags else None


def _cpuinfo(key: str) -> str:
    """Of the first processor; '' where there is none of that name."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            for line in file:
                name, _, value = line.partition(':')
                if name.strip() == key:
                    return value.strip()
    except OSError:
        pass
    return ''


def cuda_devices() -> int:
    """How many CUDA devices the driver knows and lets this process see; 0 without a driver.

    Asked of the driver itself: importing torch to learn that there are none takes seconds and 200 MB.
    """
    try:
        driver = ctypes.CDLL('libcuda.so.1')
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
    except (OSError, AttributeError):
        return 0
    return count.value


def process_memory() -> float:
    """MiB that this process has written to and that no file backs; 0.0 where the system does not say.

    What is mapped from files (libraries, mostly) the system can drop and read again.
    """
    try:
        with open('/proc/self/status', encoding='ascii') as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith('RssAnon:'))
    except (OSError, StopIteration):
        return 0.0


def permitted_processors(tid: int = 0) -> list[int]:
    """Those that a thread (0: the calling one; a process's id: its first one) may run on, ascending.

    All of the machine's where the system does not say.
    """
    try:
        return sorted(os.sched_getaffinity(tid))
    except AttributeError:  # not on Linux
        return list(range(os.cpu_count() or 1))


def usable_cores(root: Path = Path('/')) -> int:
    """How many threads can compute at once here, at least 1.

    The processors that this process may run on, two hardware threads of one core counted once (they share its
    arithmetic units), and no more than the control groups' CPU quota: beyond it the kernel stops all threads
    until the next period, which is 100 ms by default.
    """
    try:
        processors = os.sched_getaffinity(0)
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1
    cores = {_core(root, processor) for processor in processors}
    return max(1, min([len(cores), *(int(quota) for quota in _quotas(root))]))


def _core(root: Path, processor: int) -> str:
    """The hardware threads of the core that this processor belongs to, as text."""
    siblings = root / f'sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list'
    return _text(siblings) or str(processor)


def control_group_folders(root: Path = Path('/')) -> Iterator[Path]:
    """Where this process's control groups and all above them have their CPU settings, versions 1 and 2."""
    for line in _text(root / 'proc/self/cgroup').splitlines():
        _, controllers, group = line.split(':', 2)
        if controllers not in ('', 'cpu', 'cpu,cpuacct'):
            continue
        mount = root / 'sys/fs/cgroup' / controllers
        # In a container's own namespace the path may not exist below the mount: then only the root counts.
        inner = Path(group.lstrip('/'))
        yield from (mount / inner, *(mount / parent for parent in inner.parents))


def _quotas(root: Path) -> Iterator[float]:
    """CPU quotas in processors, of this process's control groups and all above them."""
    for folder in control_group_folders(root):
        version_1 = [_text(folder / f'cpu.cfs_{name}_us') for name in ('quota', 'period')]
        given = version_1 if all(version_1) else _text(folder / 'cpu.max').split()
        if len(given) == 2 and given[0] not in ('max', '-1'):
            yield int(given[0]) / int(given[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8').strip()
    except OSError:
        return ''
