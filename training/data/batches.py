"""The batches of one epoch: random views of pictures in random order, prepared in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.nn import functional

from training.data.augmentation import Augmentation
from training.data.labelled_pictures import DataError, Pictures

__all__ = ['batches']


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

    The last, smaller batch is left out (its statistics would disturb batch norm) unless it is the only one.
    The next batch is prepared in a thread while the caller computes on this one. `share` (rank, world) is for
    several processes with the same `rng`: each gets its own, equally large part of every batch, with its own
    random views.
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
        # Channels last in memory, as OpenCV has it.
        x = torch.from_numpy(views).permute(0, 3, 1, 2).float().div_(255)
        x = (augmentation.colours(x, rng) - shift) / scale
        target = functional.one_hot(torch.from_numpy(pictures.targets[chunk]), len(pictures.labels)).float()
        return augmentation.mixed(x, target, rng)

    # A single worker draws all random numbers in one order, so that runs repeat exactly.
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(prepare, chunks[0])
        for chunk in chunks[1:]:
            ready, ahead = ahead.result(), pool.submit(prepare, chunk)
            yield ready
        yield ahead.result()
