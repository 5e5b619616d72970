"""State dicts from files, and how they are made to fit a classifier."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

__all__ = ['classes_of', 'classifier_of', 'fit', 'is_path', 'read_state']

logger = logging.getLogger(__name__)


def is_path(weights: str | Path) -> bool:
    """Whether `weights` is a file rather than a name of a family's own weights."""
    return isinstance(weights, Path) or weights.endswith(('.pth', '.pt', '.safetensors')) or '/' in weights


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file (.pth, .safetensors); nothing in it is executed.

    Raises ValueError for an unreadable file, FileNotFoundError where there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'weights: there is no file {path}')
    try:
        if path.suffix == '.safetensors':
            return _all_names(load_file(path), path)
        state = torch.load(path, map_location='cpu', weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        reason = str(error).strip().split('\n', 1)[0]
        raise ValueError(f'weights: {path} is not a state dict: {reason}') from error
    for key in ('state_dict', 'model'):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(each, Tensor) for each in state.values())
    ):
        raise ValueError(f'weights: {path} is not a state dict, a dict of names to tensors')
    return state


def _all_names(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint of ours under the other names, too, that they have in its network."""
    with safe_open(path, 'pt') as file:
        description = json.loads((file.metadata() or {}).get('description', '{}'))
    same = description.get('same') if isinstance(description, dict) else None
    if isinstance(same, dict):
        state |= {alias: state[str(name)] for alias, name in same.items() if str(name) in state}
    return state


def classes_of(module: nn.Module, state: Mapping[str, Tensor]) -> int | None:
    """For how many classes the weights `state` of `module` are; None where that cannot be seen."""
    weight = state.get(f'{classifier_of(module)}.weight')
    return None if weight is None or weight.ndim < 2 else weight.shape[0]


def classifier_of(module: nn.Module) -> str:
    """The path of the layer that makes the scores: the last Linear or convolution."""
    layers = [path for path, each in module.named_modules() if isinstance(each, (nn.Linear, nn.Conv2d))]
    return layers[-1]


def fit(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load `state` into `module`; a last layer for other classes stays fresh, and the log says so.

    Raises ValueError that names missing, unknown or misshapen tensors.
    """
    tensors = dict(state)
    own, classifier = module.state_dict(), classifier_of(module)
    last = [key for key in own if key.rpartition('.')[0] == classifier]
    known_last = all(key in tensors and tensors[key].shape[1:] == own[key].shape[1:] for key in last)
    if known_last and any(tensors[key].shape != own[key].shape for key in last):
        logger.info(
            '%s: the weights are for %d classes, the network for %d: %s starts afresh, all else is loaded',
            name, len(tensors[last[0]]), len(own[last[0]]), classifier,
        )  # fmt: skip
        tensors |= {key: own[key] for key in last}
    # Files of old lack the counters of batches, which only matter to a momentum of None.
    tensors = {key: each for key, each in own.items() if key.endswith('num_batches_tracked')} | tensors
    problems = [f'{key} is missing' for key in own.keys() - tensors.keys()]
    problems += [f'{key} is unknown' for key in tensors.keys() - own.keys()]
    problems += [
        f'{key} is {list(tensors[key].shape)} instead of {list(own[key].shape)}'
        for key in own.keys() & tensors.keys()
        if own[key].shape != tensors[key].shape
    ]
    if problems:
        more = f' and {len(problems) - 4} more' if len(problems) > 4 else ''
        raise ValueError(f'weights do not fit {name}: {"; ".join(sorted(problems)[:4])}{more}')
    own.update(tensors)  # keeps the marks of version that some of torchvision's modules look at
    module.load_state_dict(own)
