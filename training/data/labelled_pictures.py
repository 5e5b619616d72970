"""Labelled pictures from a folder or a zip of them, or from one of torchvision's data sets.

A data set is ``<split>/<class>/<picture>``; the classes are the folders' names in sorted order, the same in
every split. Pictures are decoded once and kept in memory as uint8, or, where they do not fit, read from the
disk in every epoch.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch.utils.data import get_worker_info

from impatient_ros.images.errors import ImageError
from training.data import torchvision_data
from training.data.picture_files import DataError, PictureFiles
from training.data.torchvision_data import is_torchvision
from training.terminal import in_parallel

__all__ = ['DataError', 'Part', 'Pictures', 'chosen_of', 'labels_of', 'read', 'shrunk', 'splits_of']

log = logging.getLogger(__name__)

# From how many pictures a class has to which of them, in shuffled order, are taken.
Part = Callable[[int], slice]


@dataclass(frozen=True)
class Pictures:
    """One split: pictures [H, W, 3] uint8 RGB of varying size, their class indices [N] int64, their names."""

    labels: tuple[str, ...]
    images: Sequence[np.ndarray]  # in memory, or read from the disk whenever one is asked for
    targets: np.ndarray
    names: tuple[str, ...]
    rejected: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def load(self, indices: Iterable[int]) -> list[np.ndarray]:
        """These pictures; where they are on disk, several are decoded at a time (but not by a data loader's
        worker, beside which there are others).
        """
        if isinstance(self.images, OnDisk) and get_worker_info() is None:
            with ThreadPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
                return list(pool.map(self.images.__getitem__, indices))
        return [self.images[i] for i in indices]


class OnDisk(Sequence[np.ndarray]):
    """Pictures that are decoded whenever they are asked for: for data sets that do not fit into memory.

    A broken picture is logged by name and is a grey one from then on.
    """

    def __init__(self, files: PictureFiles, names: Sequence[str], shorter_side: int | None) -> None:
        self._files, self._names, self._side = files, names, shorter_side

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        name = self._names[index]
        try:
            picture = self._files.picture(name)
        except ImageError as error:
            source = self._files.source
            log.warning(
                '%s: %s is not a readable picture (%s); a grey one takes its place', source, name, error
            )
            return np.full((32, 32, 3), 128, np.uint8)
        return picture if self._side is None else shrunk(picture, self._side)


def labels_of(source: str | Path | PictureFiles, split: str | None = None) -> tuple[str, ...]:
    """The class names of a data set, those of its split train; DataError where there are none, or others in
    `split`.
    """
    if is_torchvision(source):
        return torchvision_data.labels_of(str(source))
    files = _opened(source)
    if split is not None:
        files.check_classes(split)
    return files.labels()


def splits_of(source: str | Path | PictureFiles) -> tuple[str, ...]:
    """The names of a data set's splits; DataError where there are no pictures."""
    if is_torchvision(source):
        return torchvision_data.SPLITS
    files = _opened(source)
    files.labels()
    return tuple(sorted(files.listing))


def _opened(source: str | Path | PictureFiles) -> PictureFiles:
    return source if isinstance(source, PictureFiles) else PictureFiles(Path(source))


def chosen_of(files: PictureFiles, split: str, part: Part | None = None) -> dict[str, list[str]]:
    """The names of the files of each class of a split, or of a part of it; nothing is decoded.

    DataError for an unknown split, other classes than those of the split train, and a class of which the part
    has nothing.
    """
    listing = files.of(split)
    chosen = {label: _some(sorted(listing[label]), part) for label in files.labels()}
    for label, names in chosen.items():
        if not listing[label]:
            raise DataError(
                f'{files.source}: {split}/{label} holds no readable picture; fill or remove this class folder'
            )
        if not names and part is not None:
            raise DataError(
                f'{files.source}: {split}/{label} has too few pictures ({len(listing[label])}): '
                f'{part(len(listing[label])).start} of every class are held out to validate, and none is '
                'left; add pictures, or write a smaller data.hold_out'
            )
    return chosen


def read(
    source: str | Path | PictureFiles,
    split: str,
    *,
    shorter_side: int | None = None,
    part: Part | None = None,
    keep: bool = True,
) -> Pictures:
    """Decode one split; `shorter_side` (px) shrinks larger pictures once, which saves memory and time later.

    `part` says which pictures of every class to take, in an order that is shuffled the same way every time:
    two parts that do not overlap have no picture in common. Without `keep` pictures are decoded whenever they
    are asked for, instead of once and into memory. A `source` that reads 'torchvision:CIFAR10:folder' is one
    of torchvision's data sets, which lies in that folder.

    Broken pictures are left out, logged by name and listed in `.rejected`. DataError as from `chosen_of`, and
    for a class folder without a readable picture.
    """
    if is_torchvision(source):
        return _torchvision(str(source), split, shorter_side, part)
    files = _opened(source)
    labels, chosen = files.labels(), chosen_of(files, split, part)
    numbered = [(target, name) for target, label in enumerate(labels) for name in chosen[label]]
    if not keep:
        names = [name for _, name in numbered]
        targets = np.asarray([target for target, _ in numbered], np.int64)
        return Pictures(labels, OnDisk(files, names, shorter_side), targets, tuple(names))

    def small(numbered_name: tuple[int, str]) -> np.ndarray | ImageError:
        try:
            picture = files.picture(numbered_name[1])
        except ImageError as error:
            return error
        return picture if shorter_side is None else shrunk(picture, shorter_side)

    found: list[tuple[int, str, np.ndarray]] = []
    rejected: list[str] = []
    decoded = in_parallel(numbered, small, what=f'decoding {split}', total=len(numbered))
    for (target, name), picture in decoded:
        if isinstance(picture, ImageError):
            log.warning('%s: %s is not a readable picture; left out (%s)', files.source, name, picture)
            rejected.append(name)
        else:
            found.append((target, name, picture))
    if missing := sorted({*range(len(labels))} - {target for target, _, _ in found}):
        raise DataError(
            f'{files.source}: {split}/{labels[missing[0]]} holds no readable picture; fill or remove this '
            'class folder'
        )
    return Pictures(
        labels,
        tuple(picture for _, _, picture in found),
        np.asarray([target for target, _, _ in found], np.int64),
        tuple(name for _, name, _ in found),
        tuple(rejected),
    )


def _torchvision(source: str, split: str, shorter_side: int | None, part: Part | None) -> Pictures:
    labels, images, numbers, rejected = torchvision_data.read(source, split)
    if shorter_side is not None:
        images = [shrunk(image, shorter_side) for image in images]
    targets = np.asarray(numbers, np.int64)
    chosen: list[int] = []
    for target in range(len(labels)):
        own = np.flatnonzero(targets == target).tolist()
        if not own:
            raise DataError(f'{source}: {split} has no picture of {labels[target]!r}')
        chosen += _some(own, part)
    names = tuple(f'{split}/{labels[targets[i]]}/{i}' for i in chosen)
    return Pictures(labels, tuple(images[i] for i in chosen), targets[chosen], names, tuple(rejected))


def _some(items: list[Any], part: Part | None) -> list[Any]:
    """What `part` takes of a fixed shuffle, in the items' original order; all of them without a part."""
    if part is None:
        return items
    order = np.random.default_rng(0).permutation(len(items))[part(len(items))]
    return [items[i] for i in sorted(order)]


def shrunk(picture: np.ndarray, shorter_side: int) -> np.ndarray:
    """The picture, uint8 [H, W, 3], with its shorter side at most that long, px."""
    height, width = picture.shape[:2]
    scale = shorter_side / min(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
