"""One .safetensors file that carries an impatient network and all that it takes to use it.

`read` needs no torch; `save` and `load`, which take and give a network, import it when they are asked for.
"""

from typing import TYPE_CHECKING, Any

from impatient_ros.checkpoint.container import CheckpointError
from impatient_ros.checkpoint.graph import Graph
from impatient_ros.checkpoint.reading import Checkpoint, CheckpointFile, read
from impatient_ros.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from impatient_ros.checkpoint.store import load, save

__all__ = [
    'Checkpoint',
    'CheckpointError',
    'CheckpointFile',
    'Graph',
    'Preprocessing',
    'load',
    'read',
    'save',
]


def __getattr__(name: str) -> Any:
    if name in ('load', 'save'):
        from impatient_ros.checkpoint import store

        return getattr(store, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
