"""What is measured on, as JSON on standard output: python3 gpu/machine.py"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from impatient_ros.runtime.machine import processor_name, usable_cores  # noqa: E402

PACKAGES = ('torchvision', 'timm', 'numpy', 'opencv-python-headless', 'safetensors', 'onnx', 'lightning')


def machine() -> dict[str, Any]:
    """`gpu` is None where torch sees no CUDA device."""
    gpu = torch.cuda.is_available()
    properties = torch.cuda.get_device_properties(0) if gpu else None
    return {
        'gpu': properties.name if properties else None,
        'gpu_memory_gib': round(properties.total_memory / 2**30, 1) if properties else None,
        'compute_capability': '.'.join(map(str, torch.cuda.get_device_capability(0))) if gpu else None,
        'driver': _driver() if gpu else None,
        'torch': torch.__version__,
        'cuda': torch.version.cuda,
        'cudnn': torch.backends.cudnn.version() if gpu else None,
        # In f32, what multiplies with 10 bits of fraction instead of 23.
        'tf32_convolutions': torch.backends.cudnn.allow_tf32,
        'tf32_matrices': torch.backends.cuda.matmul.allow_tf32,
        'processor': processor_name(),
        'cores': usable_cores(),
        'python': platform.python_version(),
        'packages': {name: found for name in PACKAGES if (found := _version(name))},
    }


def _driver() -> str | None:
    command = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']
    try:
        return (
            subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.split('\n')[0] or None
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == '__main__':
    print(json.dumps(machine(), indent=1))
