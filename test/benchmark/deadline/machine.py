"""What a measurement was made on."""

import os
import platform
import subprocess
import time

import torch

from impatient_ros.anytime import AnytimeClassifier

__all__ = ['machine']


def machine(classifier: AnytimeClassifier) -> dict:
    """JSON-able: processor, cores, runtime, versions, date, commit."""
    return {
        'processor': _processor(),
        'cores': len(os.sched_getaffinity(0)),
        'system': f'{platform.system()} {platform.release()}',
        'python': platform.python_version(),
        'torch': torch.__version__,
        'runtime': classifier.runtime.name,
        'device': classifier.runtime.device,
        'threads': classifier.runtime.describe().get('threads'),
        'date': time.strftime('%Y-%m-%d', time.gmtime()),
        'commit': _commit(),
    }


def _processor() -> str:
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        names = [line.partition(':')[2].strip() for line in file if line.startswith('model name')]
    return names[0] if names else platform.processor()


def _commit() -> str:
    try:
        asked = subprocess.run(
            ['git', 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return asked.stdout.strip()
