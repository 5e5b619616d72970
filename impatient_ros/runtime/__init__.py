"""How stages execute. One small interface (`Runtime`), one module per way to execute."""

from impatient_ros.runtime.base import Runtime, RuntimeUnavailableError
from impatient_ros.runtime.precision import PRECISIONS
from impatient_ros.runtime.registry import DEVICES, RUNTIMES, select_runtime
from impatient_ros.runtime.source import Source

__all__ = [
    'DEVICES',
    'PRECISIONS',
    'RUNTIMES',
    'Runtime',
    'RuntimeUnavailableError',
    'Source',
    'select_runtime',
]
