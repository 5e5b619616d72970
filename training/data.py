"""Labelled pictures from a folder or a zip of them, and the batches that training draws from them.

A data set is ``<split>/<class>/<picture>``; the classes are the folders' names in sorted order, the same in
every split. Pictures are decoded once and kept as uint8 in memory: an epoch costs crops and arithmetic only.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional

from training.augmentation import Augmentation

__all__ = ['DataError', 'Pictures', 'batches', 'decode', 'labels_of', 'read']

log = logging.getLogger(__name__)

SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp')


class DataError(ValueError):
    """The data set cannot be used as it is; the message names the folder and says what should be there."""


@dataclass(frozen=True)
class Pictures:
    """One split in memory: pictures [H, W, 3] uint8 RGB of varying size, their class indices [N] int64."""

    labels: tuple[str, ...]
    images: tuple[np.ndarray, ...]
    targets: np.ndarray
    names: tuple[str, ...]
    rejected: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)


def labels_of(source: str | Path) -> tuple[str, ...]:
    """The class names of a data set; DataError where there are none or where its splits differ in them."""
    return _labels(Path(source), _listing(Path(source)))


def read(source: str | Path, split: str, *, shorter_side: int | None = None) -> Pictures:
    """Decode one split; `shorter_side` (px) shrinks larger pictures once, which saves memory and time later.

    Broken pictures are left out, logged by name and listed in `.rejected`. DataError for an unknown split, a
    class folder without a readable picture, and labels that differ between the splits.
    """
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
        for name, data in _contents(source, sorted(listing[split][label])):
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
    return Pictures(labels, tuple(images), np.asarray(targets, np.int64), tuple(names), tuple(rejected))


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
        entries = [
            path.relative_to(source).as_posix() + ('/' if path.is_dir() else '') for path in source.rglob('*')
        ]
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
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch in random order: x [N, 3, size, size] normalised, and target probabilities [N, classes].

    The last, smaller batch is left out (batch norm dislikes it) unless it is the only one. The next batch is
    prepared in a thread while the caller computes on this one.
    """
    augmentation = augmentation or Augmentation()
    order = rng.permutation(len(pictures))
    whole = max(1, len(order) // batch_size)
    chunks = [order[i * batch_size : (i + 1) * batch_size] for i in range(whole)]
    shift, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))

    def prepare(chunk: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        views = np.stack([augmentation.view(pictures.images[i], size, rng) for i in chunk])
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
