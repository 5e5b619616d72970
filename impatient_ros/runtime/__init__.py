"""How stages execute. One small interface (`Runtime`), one module per way to execute."""

from impatient_ros.runtime.base import RUNTIMES, Runtime, RuntimeUnavailableError
from impatient_ros.runtime.registry import select_runtime

__all__ = ['RUNTIMES', 'Runtime', 'RuntimeUnavailableError', 'select_runtime']
