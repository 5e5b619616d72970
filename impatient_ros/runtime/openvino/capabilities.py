"""What OpenVINO computes natively on a device of this machine."""

from __future__ import annotations

from functools import cache
from typing import Any

from impatient_ros.runtime.base import RuntimeUnavailableError
from impatient_ros.runtime.machine import processor_flags
from impatient_ros.runtime.packages import import_package
from impatient_ros.runtime.precision import native_to_openvino

__all__ = ['integrated_gpu', 'native', 'openvino_core', 'openvino_package']


def openvino_package() -> Any:
    """The package. Raises RuntimeUnavailableError."""
    return import_package('openvino', "runtime 'openvino'", 'write runtime eager')


@cache
def openvino_core() -> Any:
    """The package's `Core`: one for the process, kept to its end. Raises RuntimeUnavailableError.

    Its CPU plugin gives the thread that loads it another stack for signal handlers, and puts the one before
    back when it goes. Where two go in the order in which they came, the second puts back that of the first,
    which is unmapped by then, and the next signal that Python handles ends the process.
    """
    return openvino_package().Core()


def native(device: str) -> tuple[str, ...]:
    """The precisions of 'cpu' or 'igpu'. Raises RuntimeUnavailableError without the package or the device."""
    core = openvino_core()
    target = integrated_gpu(core) if device == 'igpu' else 'CPU'
    flags = None if device == 'igpu' else processor_flags()
    return native_to_openvino(core.get_property(target, 'OPTIMIZATION_CAPABILITIES'), flags)


def integrated_gpu(core: Any) -> str:
    """OpenVINO's name for it. Raises RuntimeUnavailableError where there is none."""
    for name in core.available_devices:
        if name.startswith('GPU') and 'INTEGRATED' in str(core.get_property(name, 'DEVICE_TYPE')):
            return name
    raise RuntimeUnavailableError(
        f"device 'igpu': OpenVINO finds no integrated GPU of Intel's here, only "
        f'{", ".join(core.available_devices)}; install its OpenCL driver (intel-opencl-icd) and '
        'allow access to /dev/dri, or write device cpu'
    )
