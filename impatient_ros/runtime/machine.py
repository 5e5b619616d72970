"""What latencies depend on besides the network."""

from __future__ import annotations

import platform

__all__ = ['processor_name']


def processor_name() -> str:
    """The processor as people call it."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.partition(':')[2].strip()
    except OSError:
        pass
    return platform.processor()
