"""Torchvision's data sets, read from a folder on disk; nothing is downloaded.

    labels, images, targets, rejected = read('torchvision:CIFAR10:../data', 'train')

`train` and `test` are torchvision's own splits; `validation` is the one that it calls val, where there is
one.
"""

from __future__ import annotations

import inspect
import logging
from typing import Any

import numpy as np
import torchvision
from PIL import UnidentifiedImageError

from impatient_ros.suggestions import did_you_mean
from training.data.picture_files import DataError

__all__ = ['SPLITS', 'is_torchvision', 'labels_of', 'read']

log = logging.getLogger(__name__)

PREFIX = 'torchvision:'
SPLITS = ('train', 'test')


def is_torchvision(source: object) -> bool:
    """Whether `source` names a data set of torchvision: 'torchvision:<class>:<folder>'."""
    return isinstance(source, str) and source.startswith(PREFIX)


def labels_of(source: str) -> tuple[str, ...]:
    """The class names that torchvision gives its data set. DataError."""
    return _labels(source, _open(source, 'train'))


def read(source: str, split: str) -> tuple[tuple[str, ...], list[np.ndarray], list[int], list[str]]:
    """Labels, pictures [H, W, 3] uint8 RGB, class indices, and the names of broken pictures. DataError."""
    data = _open(source, split)
    images: list[np.ndarray] = []
    targets: list[int] = []
    rejected: list[str] = []
    for index in range(len(data)):
        try:
            picture, target = data[index]
        except (UnidentifiedImageError, OSError) as error:
            log.warning('%s: picture %d of %s is not readable (%s); left out', source, index, split, error)
            rejected.append(f'{split}/{index}')
            continue
        images.append(np.asarray(picture.convert('RGB')))
        targets.append(int(target))
    return _labels(source, data), images, targets, rejected


def _open(source: str, split: str) -> Any:
    name, _, folder = source.removeprefix(PREFIX).partition(':')
    known = torchvision.datasets.__all__
    if name not in known or not folder:
        hint = did_you_mean(name, known, 'with a data set such as CIFAR10, Flowers102 or ImageFolder')
        raise DataError(f'{source}: write torchvision:<data set>:<folder>; {hint}')
    kind = getattr(torchvision.datasets, name)
    accepted = inspect.signature(kind).parameters
    if 'train' in accepted:
        if split not in SPLITS:
            raise DataError(f'{source}: no split {split!r}; write one of {", ".join(SPLITS)}')
        options: dict[str, Any] = {'train': split == 'train'}
    elif 'split' in accepted:
        options = {'split': {'validation': 'val'}.get(split, split)}
    else:
        raise DataError(f'{source}: {name} has no splits; lay its pictures out as <split>/<class>/<picture>')
    if 'download' in accepted:
        options['download'] = False
    try:
        return kind(folder, **options)
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f'{source}: torchvision cannot open the split {split!r}: {error}') from error


def _labels(source: str, data: Any) -> tuple[str, ...]:
    labels = getattr(data, 'classes', None)
    if not labels:
        raise DataError(f'{source}: this data set does not name its classes')
    return tuple(label if isinstance(label, str) else ', '.join(label) for label in labels)
