"""One .safetensors file that carries an impatient network and all that it takes to use it."""

from impatient_ros.checkpoint.container import CheckpointError
from impatient_ros.checkpoint.store import Checkpoint, load, save
from impatient_ros.images.preprocessing import Preprocessing

__all__ = ['Checkpoint', 'CheckpointError', 'Preprocessing', 'load', 'save']
