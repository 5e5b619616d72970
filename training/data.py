"""Labelled pictures from a folder or a zip of them, and the batches that training draws from them.

A data set is ``<split>/<class>/<picture>``; the classes are the folders' names in sorted order, the same in
every split. Pictures are decoded once and kept as uint8 in memory: an epoch costs crops and arithmetic only.
Where they are too many for that, they are read from the disk again and again.
"""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from training import torchvision_data
from training.augmentation import Augmentation
from training.torchvision_data import DataError, is_torchvision

__all__ = ['DataError', 'Pictures', 'batches', 'decode', 'labels_of', 'read', 'splits_of']

log = logging.getLogger(__name__)

SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp')


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
        """These pictures; where they are on disk, several are decoded at a time."""
        if isinstance(self.images, OnDisk):
            with ThreadPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
                return list(pool.map(self.images.__getitem__, indices))
        return [self.images[i] for i in indices]


class OnDisk(Sequence[np.ndarray]):
    """Pictures that are decoded whenever they are asked for: for data sets that do not fit into memory.

    A broken picture is logged by name and is a grey one from then on.
    """

    def __init__(self, source: Path, names: Sequence[str], shorter_side: int | None) -> None:
        self._source, self._names, self._side = source, names, shorter_side

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        ((name, data),) = _contents(self._source, [self._names[index]])
        picture = decode(data)
        if picture is None:
            log.warning('%s: %s is not a readable picture; a grey one takes its place', self._source, name)
            return np.full((32, 32, 3), 128, np.uint8)
        return picture if self._side is None else _shrunk(picture, self._side)


def labels_of(source: str | Path) -> tuple[str, ...]:
    """The class names of a data set; DataError where there are none or where its splits differ in them."""
    if is_torchvision(source):
        return torchvision_data.labels_of(str(source))
    return _labels(Path(source), _listing(Path(source)))


def splits_of(source: str | Path) -> tuple[str, ...]:
    """The names of a data set's splits; DataError where there are no pictures."""
    if is_torchvision(source):
        return torchvision_data.SPLITS
    listing = _listing(Path(source))
    _labels(Path(source), listing)
    return tuple(sorted(listing))


def read(
    source: str | Path,
    split: str,
    *,
    shorter_side: int | None = None,
    part: tuple[int, int | None] | None = None,
    keep: bool = True,
) -> Pictures:
    """Decode one split; `shorter_side` (px) shrinks larger pictures once, which saves memory and time later.

    `part` (start, stop) takes only the pictures start..stop of every class, in an order that is shuffled the
    same way every time: two parts that do not overlap have no picture in common. Without `keep` pictures are
    decoded whenever they are asked for, instead of once and into memory. A `source` that reads
    'torchvision:CIFAR10:folder' is one of torchvision's data sets, which lies in that folder.

    Broken pictures are left out, logged by name and listed in `.rejected`. DataError for an unknown split, a
    class folder without a readable picture, and labels that differ between the splits.
    """
    if is_torchvision(source):
        return _torchvision(str(source), split, shorter_side, part)
    source = Path(source)
    listing = _listing(source)
    labels = _labels(source, listing)
    if split not in listing:
        raise DataError(f'{source}: no split {split!r}; write one of {", ".join(sorted(listing))}')
    images: list[np.ndarray] = []
    targets: list[int] = []
    names: list[str] = []
    rejected: list[str] = []
    for target, label in enumerate(labels):
        if not keep:
            chosen = _some(sorted(listing[split][label]), part)
            if not chosen:
                raise DataError(
                    f'{source}: {split}/{label} holds no picture; fill or remove this class folder'
                )
            names += chosen
            targets += [target] * len(chosen)
            continue
        for name, data in _contents(source, _some(sorted(listing[split][label]), part)):
            picture = decode(data)
            if picture is None:
                log.warning('%s: %s is not a readable picture; left out', source, name)
                rejected.append(name)
                continue
            images.append(picture if shorter_side is None else _shrunk(picture, shorter_side))
            targets.append(target)
            names.append(name)
        if target not in targets[-1:]:
            raise DataError(
                f'{source}: {split}/{label} holds no readable picture; fill or remove this class folder'
            )
    kept: Sequence[np.ndarray] = tuple(images) if keep else OnDisk(source, names, shorter_side)
    return Pictures(labels, kept, np.asarray(targets, np.int64), tuple(names), tuple(rejected))


def decode(data: bytes) -> np.ndarray | None:
    """The picture in an encoded file as RGB [H, W, 3] uint8, upright; None where it is broken or cut off."""
    if not data:
        return None
    if data[:2] == b'\xff\xd8' and data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda'):
        return (
            None  # a JPEG without end marker after its last scan: the decoder would fill the rest with grey
        )
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _torchvision(
    source: str, split: str, shorter_side: int | None, part: tuple[int, int | None] | None
) -> Pictures:
    labels, images, numbers, rejected = torchvision_data.read(source, split)
    if shorter_side is not None:
        images = [_shrunk(image, shorter_side) for image in images]
    targets = np.asarray(numbers, np.int64)
    chosen: list[int] = []
    for target in range(len(labels)):
        own = np.flatnonzero(targets == target).tolist()
        if not own:
            raise DataError(f'{source}: {split} has no picture of {labels[target]!r}')
        chosen += _some(own, part)
    names = tuple(f'{split}/{labels[targets[i]]}/{i}' for i in chosen)
    return Pictures(labels, tuple(images[i] for i in chosen), targets[chosen], names, tuple(rejected))


def _some(items: list[Any], part: tuple[int, int | None] | None) -> list[Any]:
    """The items start..stop of a fixed shuffle, in their original order; all of them without a part."""
    if part is None:
        return items
    order = np.random.default_rng(0).permutation(len(items))[slice(*part)]
    return [items[i] for i in sorted(order)]


def _shrunk(picture: np.ndarray, shorter_side: int) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = shorter_side / min(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def _listing(source: Path) -> dict[str, dict[str, list[str]]]:
    """Split -> class -> names of its picture files; a class folder without pictures is kept: it must show."""
    if source.is_dir():
        entries = list(_entries(source, 3))
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            entries = archive.namelist()
    else:
        raise DataError(f'{source}: neither a folder nor a zip file')
    listing: dict[str, dict[str, list[str]]] = {}
    for entry in entries:
        parts = entry.split('/')
        if len(parts) != 3 or parts[0].startswith(('.', '__')) or parts[1].startswith('.'):
            continue
        names = listing.setdefault(parts[0], {}).setdefault(parts[1], [])
        if parts[2].lower().endswith(SUFFIXES) and not parts[2].startswith('.'):
            names.append(entry)
    return listing


def _entries(folder: Path, depth: int, prefix: str = '') -> Iterator[str]:
    """The paths below a folder as a zip has them, down to `depth`; links are followed."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield f'{prefix}{path.name}/'
            if depth > 1:
                yield from _entries(path, depth - 1, f'{prefix}{path.name}/')
        else:
            yield f'{prefix}{path.name}'


def _labels(source: Path, listing: dict[str, dict[str, list[str]]]) -> tuple[str, ...]:
    if not listing:
        raise DataError(f'{source}: no pictures found; expected <split>/<class>/<picture>.jpg')
    first, *others = sorted(listing)
    for other in others:
        odd = sorted(set(listing[first]) ^ set(listing[other]))
        if odd:
            raise DataError(
                f'{source}: the splits {first!r} and {other!r} differ in their class folders: '
                f'{", ".join(odd)} in one of them only; every split needs every class'
            )
    return tuple(sorted(listing[first]))


def _contents(source: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for name in names:
            yield name, (source / name).read_bytes()
        return
    with zipfile.ZipFile(source) as archive:
        for name in names:
            try:
                yield name, archive.read(name)
            except zipfile.BadZipFile:  # this member's checksum is wrong; the others may be fine
                yield name, b''


def batches(
    pictures: Pictures,
    *,
    size: int,
    batch_size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    rng: np.random.Generator,
    augmentation: Augmentation | None = None,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch in random order: x [N, 3, size, size] normalised, and target probabilities [N, classes].

    The last, smaller batch is left out (batch norm dislikes it) unless it is the only one. The next batch is
    prepared in a thread while the caller computes on this one. `share` (rank, world) is for several processes
    with the same `rng`: each gets its own, equally large part of every batch, with its own random views.
    """
    augmentation = augmentation or Augmentation()
    rank, world = share
    order = rng.permutation(len(pictures))
    whole = max(1, len(order) // batch_size)
    count = min(batch_size, len(order)) // world
    if count == 0:
        raise DataError(f'{min(batch_size, len(order))} pictures a batch are too few for {world} processes')
    chunks = [order[i * batch_size : i * batch_size + count * world][rank::world] for i in range(whole)]
    if world > 1:
        rng = rng.spawn(world)[rank]
    shift, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))

    def prepare(chunk: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        views = np.stack([augmentation.view(picture, size, rng) for picture in pictures.load(chunk)])
        x = (
            torch.from_numpy(views).permute(0, 3, 1, 2).float().div_(255)
        )  # channels last in memory, as OpenCV has it
        x = (augmentation.colours(x, rng) - shift) / scale
        target = functional.one_hot(torch.from_numpy(pictures.targets[chunk]), len(pictures.labels)).float()
        return augmentation.mixed(x, target, rng)

    with ThreadPoolExecutor(
        1
    ) as pool:  # a single worker: the random stream stays in order, runs repeat exactly
        ahead = pool.submit(prepare, chunks[0])
        for chunk in chunks[1:]:
            ready, ahead = ahead.result(), pool.submit(prepare, chunk)
            yield ready
        yield ahead.result()
