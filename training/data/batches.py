"""The batches of one epoch: random views of pictures in random order, made by torch's DataLoader.

Workers cut the views out, as bytes; what is left is done on the device, by `finished`. Every batch has a
random generator of its own, derived from the seed, the epoch and the batch's number, so that a training
repeats exactly, whatever the number of workers and wherever it is resumed.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from impatient_ros.images.preprocessing import Preprocessing
from training.data.augmentation import Augmentation, Mixing, mixed
from training.data.labelled_pictures import DataError, Pictures

__all__ = ['Batch', 'Epochs', 'PreparedOf', 'Views', 'ViewsOf', 'finished', 'loader', 'orders']


class Batch(NamedTuple):
    """Which pictures a batch has, at which size (px), and where its random numbers come from."""

    indices: np.ndarray
    size: int
    key: tuple[int, ...]


class Views(NamedTuple):
    """A batch as a worker makes it: pixels [N, size, size, 3] uint8, class indices [N], drawn changes."""

    pixels: torch.Tensor
    targets: torch.Tensor
    changes: torch.Tensor | None
    mixing: Mixing | None


def orders(
    count: int, batch_size: int, *, size: int, seed: int, epoch: int, share: tuple[int, int] = (0, 1)
) -> list[Batch]:
    """One epoch of `count` pictures in random order.

    The last, smaller batch is left out (its statistics would disturb batch norm) unless it is the only one.
    `share` (rank, world) is for several processes: each gets its own, equally large part of every batch, with
    its own random views. DataError where that part is empty.
    """
    rank, world = share
    order = np.random.default_rng([seed, epoch]).permutation(count)
    own = min(batch_size, count) // world
    if own == 0:
        raise DataError(f'{min(batch_size, count)} pictures a batch are too few for {world} processes')
    return [
        Batch(
            order[i * batch_size : i * batch_size + own * world][rank::world],
            size,
            (seed, epoch, i + 1, rank),
        )
        for i in range(max(1, count // batch_size))
    ]


@dataclass(frozen=True)
class ViewsOf(Dataset[Views]):
    """Random views of pictures; what is asked for is a `Batch`."""

    pictures: Pictures
    augmentation: Augmentation

    def __getitem__(self, batch: Batch) -> Views:
        rng = np.random.default_rng(batch.key)
        pictures = self.pictures.load(batch.indices)
        views = np.stack([self.augmentation.view(picture, batch.size, rng) for picture in pictures])
        return Views(
            torch.from_numpy(views),
            torch.from_numpy(self.pictures.targets[batch.indices]),
            self.augmentation.colour_changes(len(views), batch.size, rng),
            self.augmentation.mixing(batch.size, rng),
        )


@dataclass(frozen=True)
class PreparedOf(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Pictures by `chunks` of indices, as the node has them: x [N, 3, size, size]; class indices [N]."""

    pictures: Pictures
    preprocessing: Preprocessing
    chunks: Sequence[Sequence[int]]

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        chunk = list(self.chunks[number])
        x = self.preprocessing.batch(self.pictures.load(chunk))
        return torch.from_numpy(x), torch.from_numpy(self.pictures.targets[chunk])


def finished(
    views: Views, augmentation: Augmentation, classes: int, mean: torch.Tensor, std: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours, normalisation and mixing, where the views are: x [N, 3, size, size] (channels last in memory)
    and target probabilities [N, classes]. `mean` and `std` are [3, 1, 1].
    """
    x = views.pixels.permute(0, 3, 1, 2).float().div_(255)
    x = (augmentation.colours(x, views.changes) - mean) / std
    return mixed(x, functional.one_hot(views.targets, classes).float(), views.mixing)


@dataclass(frozen=True)
class Epochs:
    """Iterates over a loader each time anew, which asks for the epoch's order with the first batch only: the
    trainer may not know its epoch before.
    """

    loader: DataLoader[Any]

    def __iter__(self) -> Iterator[Any]:
        yield from self.loader

    def __len__(self) -> int:
        return len(self.loader)


def loader(dataset: Any, sampler: Any = None, *, workers: int = 0) -> Epochs:
    """What `dataset` has for each element of `sampler` (default: one after the other), whole batches both.

    Workers are forked where the system can, so that they share the pictures in memory with this process;
    elsewhere each gets a copy. They never touch the device.
    """
    fork = workers and 'fork' in multiprocessing.get_all_start_methods()
    return Epochs(
        DataLoader(
            dataset,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context='fork' if fork else None,
            worker_init_fn=_start_worker,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # otherwise the number of workers would change the global one
        )
    )


def _start_worker(number: int) -> None:
    cv2.setNumThreads(0)  # OpenCV's threads do not survive a fork
