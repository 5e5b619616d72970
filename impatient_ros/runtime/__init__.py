"""How stages execute. One small interface (`Runtime`), one module per way to execute."""

from impatient_ros.runtime.base import Runtime, RuntimeUnavailableError
from impatient_ros.runtime.registry import DEVICES, RUNTIMES, Source, select_runtime

__all__ = ['DEVICES', 'RUNTIMES', 'Runtime', 'RuntimeUnavailableError', 'Source', 'select_runtime']
