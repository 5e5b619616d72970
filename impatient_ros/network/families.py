"""Torchvision's classifiers by name, and their weights.

module = build('resnet18', classes=10, image_size=(224, 224), options={})
load_weights(module, read_weights('resnet18', 'DEFAULT'), 'resnet18')
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from impatient_ros.suggestions import did_you_mean

__all__ = ['build', 'classes_of', 'classifier_of', 'default_options', 'known', 'load_weights', 'read_weights']

logger = logging.getLogger(__name__)

# Answers for training only; an impatient network has exits in their place.
_AUXILIARY = {'googlenet': ('aux1', 'aux2'), 'inception_v3': ('AuxLogits',)}


def known() -> list[str]:
    """The names of torchvision's classifiers."""
    return torchvision.models.list_models(module=torchvision.models)


def build(
    name: str, *, classes: int, image_size: tuple[int, int], options: Mapping[str, Any], empty: bool = False
) -> nn.Module:
    """Torchvision's classifier `name` with fresh weights, or `empty`: its parameters without data.

    Auxiliary classifiers (googlenet, inception_v3) are left out. Raises ValueError.
    """
    if name not in known():
        hint = did_you_mean(name, known(), f'there are {", ".join(known())}')
        raise ValueError(f'torchvision has no classifier {name!r}; {hint}')
    arguments = dict(options) | {'num_classes': classes}
    if name in _AUXILIARY:
        arguments.setdefault('init_weights', True)  # torchvision's default, said aloud to spare its warning
    if name.startswith('vit_'):
        if image_size[0] != image_size[1]:
            raise ValueError(f'{name} takes square images, not {image_size[0]}x{image_size[1]}')
        arguments['image_size'] = image_size[0]
    if name.startswith('maxvit'):
        arguments['input_size'] = image_size
    try:
        with _Empty() if empty else nullcontext():
            module = torchvision.models.get_model(name, weights=None, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        asked = f'images of {image_size[0]}x{image_size[1]}' + (f' with {dict(options)}' if options else '')
        raise ValueError(f'torchvision does not build {name} for {asked}: {error}') from error
    for auxiliary in _AUXILIARY.get(name, ()):
        setattr(module, auxiliary, None)
    return module


def default_options(name: str, weights: str | Path | None) -> dict[str, Any]:
    """The options that torchvision's own weights ask for.

    Those of googlenet and inception_v3 were trained on images normalised to -1..1; with `transform_input` the
    network takes images normalised as for all others. Weights of one's own need the option given.
    """
    own = weights is None or _is_path(weights)
    return {} if own or name not in _AUXILIARY else {'transform_input': True}


def read_weights(name: str, weights: str | Path) -> dict[str, Tensor]:
    """The state dict behind `weights`: 'DEFAULT', another name of torchvision, or a file.

    Raises ValueError for an unknown name or an unreadable file, FileNotFoundError where there is none.
    """
    if not _is_path(weights):
        enum = torchvision.models.get_model_weights(name)
        if weights not in enum.__members__:
            names = ', '.join(enum.__members__)
            raise ValueError(f'{name} has no weights {weights!r}: write one of {names}, or a path')
        return enum[str(weights)].get_state_dict(progress=False, check_hash=True)
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f'weights: there is no file {path}')
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
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


def classes_of(module: nn.Module, state: Mapping[str, Tensor]) -> int | None:
    """For how many classes the weights `state` of `module` are; None where that cannot be seen."""
    weight = state.get(f'{classifier_of(module)}.weight')
    return None if weight is None or weight.ndim < 2 else weight.shape[0]


def classifier_of(module: nn.Module) -> str:
    """The path of the layer that makes the scores: the last Linear or convolution."""
    layers = [path for path, each in module.named_modules() if isinstance(each, (nn.Linear, nn.Conv2d))]
    return layers[-1]


def load_weights(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load `state` into `module`; a last layer for other classes stays fresh, and the log says so.

    Raises ValueError that names missing, unknown or misshapen tensors.
    """
    dropped = tuple(f'{auxiliary}.' for auxiliary in _AUXILIARY.get(name, ()))
    tensors = {key: each for key, each in state.items() if not (dropped and key.startswith(dropped))}
    if isinstance(module, VisionTransformer):
        tensors = _at_size(module, tensors)
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


class _Empty(TorchFunctionMode):
    """torch.empty, of which parameters are made, makes meta tensors; computed values stay real."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get('device') is None:
            kwargs['device'] = 'meta'
        return func(*args, **kwargs)


def _at_size(module: VisionTransformer, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Position embeddings for the module's size of images."""
    key = 'encoder.pos_embedding'
    if key not in tensors or tensors[key].shape == module.encoder.pos_embedding.shape:
        return tensors
    try:
        resized = interpolate_embeddings(module.image_size, module.patch_size, dict(tensors))
    except (ValueError, RuntimeError) as error:
        reason = f'{key} does not fit images of {module.image_size} pixels: {error}'
        raise ValueError(f'weights: {reason}') from error
    logger.info('position embeddings are interpolated to images of %d pixels', module.image_size)
    return dict(resized)


def _is_path(weights: str | Path) -> bool:
    return isinstance(weights, Path) or weights.endswith(('.pth', '.pt', '.safetensors')) or '/' in weights
