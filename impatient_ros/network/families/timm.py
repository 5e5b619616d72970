"""Timm's classifiers, by their names there (`resnet10t`, or with the tag of weights, `resnet10t.c3_in1k`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network.families.family import Family, UnknownFamilyError
from impatient_ros.network.families.weights import classes_of, is_path, read_state

__all__ = ['FAMILY']

logger = logging.getLogger(__name__)

# Arguments of timm.create_model that read files, reach the network or have a parameter of their own here.
_NOT_OPTIONS = {
    'cache_dir', 'checkpoint_path', 'exportable', 'features_only', 'img_size', 'in_chans', 'no_jit',
    'num_classes', 'pretrained', 'pretrained_cfg', 'pretrained_cfg_overlay', 'pretrained_custom_load',
    'pretrained_filter_fn', 'pretrained_model_args', 'pretrained_strict', 'scriptable',
}  # fmt: skip


@cache
def _timm() -> ModuleType:
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != 'timm':
            raise UnknownFamilyError(f'timm is installed but cannot be imported: {error}') from error
        raise UnknownFamilyError("timm is not installed: pip install 'timm>=1.0'") from error
    return timm


class _Timm(Family):
    name = 'timm'

    def classifiers(self) -> list[str]:
        return _timm().list_models()

    def check(self, name: str) -> None:
        """Names with a source, such as hf-hub:..., are refused: they stand for files and downloads."""
        architecture, _, tag = name.partition('.')
        super().check(architecture)
        tags = [each.partition('.')[2] for each in _timm().list_pretrained(f'{architecture}.*')]
        if tag and tag not in tags:
            raise ValueError(f'timm has no weights {tag!r} for {architecture}; there are {", ".join(tags)}')

    def create(
        self, name: str, *, classes: int, image_size: tuple[int, int], options: Mapping[str, Any]
    ) -> nn.Module:
        return self._create(name, classes, image_size, options)

    def preprocessing(self, name: str) -> Preprocessing:
        """Timm's own data configuration of the weights that `name` stands for."""
        self.check(name)
        config = _timm().get_pretrained_cfg(name).to_dict()
        data = _timm().data.resolve_data_config(pretrained_cfg=config)
        size = tuple(data['input_size'][1:])
        return Preprocessing(size, round(min(size) / data['crop_pct']), data['mean'], data['std'])

    def labels(self, name: str, weights: str | Path | None) -> tuple[str, ...] | None:
        if weights is None or is_path(weights):
            return None
        config = _timm().get_pretrained_cfg(name).to_dict()
        subset = _timm().data.infer_imagenet_subset(config)
        return tuple(_timm().data.ImageNetInfo(subset).label_descriptions()) if subset else None

    def load(
        self,
        name: str,
        *,
        classes: int | None,
        image_size: tuple[int, int],
        options: Mapping[str, Any],
        weights: str | Path,
    ) -> nn.Module:
        """As for every family; timm's loading adapts position embeddings to the image size.

        The family's own weights are 'DEFAULT', those of the tag in `name` or timm's choice.
        """
        self.check(name)
        given = _timm().get_pretrained_cfg(name).to_dict()
        theirs, overlay = given['num_classes'], {}
        if is_path(weights):
            state = read_state(weights)
            empty = self.build(name, classes=1000, image_size=image_size, options=options, empty=True)
            theirs = classes_of(empty, state) or theirs
            # The background class that an offset leaves out is in timm's own weights only.
            overlay = {'state_dict': dict(state), 'num_classes': theirs, 'label_offset': 0}
        elif weights != 'DEFAULT':
            raise ValueError(
                f'{name} has no weights {weights!r}: write DEFAULT or a path; a tag of timm belongs to the '
                'name, as in resnet10t.c3_in1k'
            )
        try:
            # With their own number of classes, because timm loads loosely where it is another.
            module = self._create(
                name, theirs, image_size, options, pretrained=True, pretrained_cfg_overlay=overlay
            )
        except OSError:
            raise
        except Exception as error:  # downloads and constructors fail in ways of their own
            reason = ' '.join(str(error).split())[:300] or type(error).__name__
            raise ValueError(f'weights {weights} cannot be loaded into {name}: {reason}') from error
        if classes not in (None, theirs):
            logger.info(
                '%s: the weights are for %d classes, the network for %d: its classifier starts afresh, all '
                'else is loaded', name, theirs, classes,
            )  # fmt: skip
            module.reset_classifier(classes)  # type: ignore[operator]  # every model of timm has it
        return module

    def _create(
        self,
        name: str,
        classes: int,
        image_size: tuple[int, int],
        options: Mapping[str, Any],
        **loading: Any,
    ) -> nn.Module:
        timm = _timm()
        if refused := sorted(_NOT_OPTIONS & options.keys()):
            raise ValueError(f'{", ".join(refused)} is not an option of the classifier')
        config = timm.get_pretrained_cfg(name).to_dict()
        # Some classifiers are built for one size, which they then take alone.
        size = {'img_size': image_size} if config.get('fixed_input_size') else {}
        return timm.create_model(name, num_classes=classes, **size, **dict(options), **loading)


FAMILY = _Timm()
