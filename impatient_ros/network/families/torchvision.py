"""Torchvision's classifiers, by their names there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network.families.family import Family
from impatient_ros.network.families.weights import fit, is_path

__all__ = ['FAMILY']

logger = logging.getLogger(__name__)

# Answers for training only; an impatient network has exits in their place.
_AUXILIARY = {'googlenet': ('aux1', 'aux2'), 'inception_v3': ('AuxLogits',)}


class _Torchvision(Family):
    name = 'torchvision'

    def classifiers(self) -> list[str]:
        return torchvision.models.list_models(module=torchvision.models)

    def create(
        self, name: str, *, classes: int, image_size: tuple[int, int], options: Mapping[str, Any]
    ) -> nn.Module:
        """Auxiliary classifiers (googlenet, inception_v3) are left out."""
        arguments = dict(options) | {'num_classes': classes}
        if name in _AUXILIARY:
            arguments.setdefault('init_weights', True)  # the default, said aloud to spare the warning
        if name.startswith('vit_'):
            if image_size[0] != image_size[1]:
                raise ValueError('it takes square images')
            arguments['image_size'] = image_size[0]
        if name.startswith('maxvit'):
            arguments['input_size'] = image_size
        module = torchvision.models.get_model(name, weights=None, **arguments)
        for auxiliary in _AUXILIARY.get(name, ()):
            setattr(module, auxiliary, None)
        return module

    def default_options(self, name: str, weights: str | Path | None) -> dict[str, Any]:
        """The options that torchvision's own weights ask for.

        Those of googlenet and inception_v3 were trained on images normalised to -1..1; with `transform_input`
        the network takes images normalised as for all others. Weights of one's own need the option given.
        """
        own = weights is None or is_path(weights)
        return {} if own or name not in _AUXILIARY else {'transform_input': True}

    def preprocessing(self, name: str) -> Preprocessing:
        """That of the default weights, except that googlenet and inception_v3 convert images themselves."""
        self.check(name)
        presets = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        return Preprocessing(presets.crop_size[0], presets.resize_size[0], presets.mean, presets.std)

    def labels(self, name: str, weights: str | Path | None) -> tuple[str, ...] | None:
        if weights is None or is_path(weights):
            return None
        return tuple(self._weights(name, str(weights)).meta['categories'])

    def download(self, name: str, weights: str) -> Mapping[str, Tensor]:
        """The state dict of 'DEFAULT' or another of torchvision's weights, from its cache if it is there."""
        return self._weights(name, weights).get_state_dict(progress=False, check_hash=True)

    def load_weights(self, module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
        dropped = tuple(f'{auxiliary}.' for auxiliary in _AUXILIARY.get(name, ()))
        tensors = {key: each for key, each in state.items() if not (dropped and key.startswith(dropped))}
        fit(module, _at_size(module, tensors) if isinstance(module, VisionTransformer) else tensors, name)

    @staticmethod
    def _weights(name: str, weights: str) -> Any:
        enum = torchvision.models.get_model_weights(name)
        if weights not in enum.__members__:
            names = ', '.join(enum.__members__)
            raise ValueError(f'{name} has no weights {weights!r}: write one of {names}, or a path')
        return enum[weights]


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


FAMILY = _Torchvision()
