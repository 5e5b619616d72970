"""Finding Intel's integrated GPU."""

from __future__ import annotations

from typing import Any

from impatient_ros.runtime.base import RuntimeUnavailableError

__all__ = ['integrated_gpu']


def integrated_gpu(core: Any) -> str:
    """OpenVINO's name of it. Raises RuntimeUnavailableError where there is none."""
    for name in core.available_devices:
        if name.startswith('GPU') and 'INTEGRATED' in str(core.get_property(name, 'DEVICE_TYPE')):
            return name
    raise RuntimeUnavailableError(
        f"device 'igpu': OpenVINO finds no integrated GPU of Intel's here, only "
        f'{", ".join(core.available_devices)}; install its OpenCL driver (intel-opencl-icd) and allow access '
        'to /dev/dri, or write device cpu'
    )
