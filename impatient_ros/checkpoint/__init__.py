"""One .safetensors file that carries an impatient network and all that it takes to use it.

`read` needs no torch; `save` and `load`, which take and give a network, import it when they are asked for.
"""

from typing import TYPE_CHECKING, Any

from impatient_ros.checkpoint.container import CheckpointError
from impatient_ros.checkpoint.graph import Graph
from impatient_ros.checkpoint.reading import Checkpoint, CheckpointFile, read
from impatient_ros.checkpoint.resolution import Path, Resolution
from impatient_ros.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from impatient_ros.checkpoint.store import load, save

__all__ = [
    'Checkpoint',
    'CheckpointError',
    'CheckpointFile',
    'Graph',
    'Path',
    'Preprocessing',
    'Resolution',
    'load',
    'read',
    'save',
]


def __getattr__(name: str) -> Any:
    if name in ('load', 'save'):
        try:
            from impatient_ros.checkpoint import store
        except ModuleNotFoundError as error:
            if error.name not in ('torch', 'torchvision'):
                raise
            raise ImportError(
                'save and load need torch: install torch and torchvision, or use read'
            ) from error
        return getattr(store, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
