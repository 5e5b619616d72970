"""The pictures of one training: which, at which size, in which batches.

Sizes are in pixels. `batch_size` counts all processes together, so that the number of devices changes nothing
but the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import Sampler

from impatient_ros.checkpoint import read as read_checkpoint
from impatient_ros.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from training.data.augmentation import Augmentation
from training.data.batches import (
    Batch,
    Epochs,
    PreparedOf,
    Views,
    ViewsOf,
    finished,
    loader,
    orders,
)
from training.data.labelled_pictures import Pictures
from training.data.splits import Splits
from training.data.unlabelled_pictures import kept_side, read_unlabelled

__all__ = ['PictureData', 'workers_for']

SIZE = 224
VALIDATION_BATCH = 64  # pictures at a time, at least: does not change the result
KEPT = 1 << 30  # bytes: validation pictures that take no more are prepared once


class PictureData(lightning.LightningDataModule):
    """Pictures for training and validation.

    Args:
        source: a folder or zip with <class>/<picture> or <split>/<class>/<picture>, or 'torchvision:<data
            set>:<folder>'; with `labels_from` any pictures: see `read_unlabelled`.
        labels_from: the checkpoint of the network that answers for pictures without labels; then size,
            resize, mean and std are its own.
        size: side of the network's input, px; default: that of model.network.start, or 224.
        resize: shorter side of a picture before the centre crop, px; default 256/224 of `size`.
        sizes: sides while training, one after the other over equal parts of the epochs; default `size`.
        train_split: the split to learn from; default: train, or the only one there is.
        validation_split: the one that validates; default: validation, val or valid; without one a fifth of
            each class is held out, the same pictures whatever the seed.
        hold_out: how many pictures of the split to learn from validate instead, as many of every class.
        limit: how many pictures to train on, evenly from all classes; default all.
        batch_size: over all processes together.
        mean: of each colour, 0..1; default: as the pretrained network had it, else ImageNet's; so is std.
        augmentation: random views of the training pictures.
        workers: processes that prepare batches, of each training process; default: see `workers_for`.
        in_memory: decode every picture once; false where the data set does not fit, such as ImageNet.
        seed: of the order and the views; set by --seed_everything.
    """

    def __init__(
        self,
        source: str,
        labels_from: str | None = None,
        size: int | None = None,
        resize: int | None = None,
        sizes: list[int] | None = None,
        train_split: str | None = None,
        validation_split: str | None = None,
        hold_out: int = 0,
        limit: int | None = None,
        batch_size: int = 64,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        augmentation: Augmentation | None = None,
        workers: int | None = None,
        in_memory: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ('batch_size', batch_size, 1),
            ('hold_out', hold_out, 0),
            ('workers', workers or 0, 0),
        ):
            if value < least:
                raise ValueError(f'data.{name} is {value}: write a whole number, at least {least}')
        if limit is not None and limit < 1:
            raise ValueError(f'data.limit is {limit}: write how many pictures to train on')
        if any(side < 1 for side in sizes or []):
            raise ValueError(f'data.sizes is {sizes}: write sides in pixels')
        self.source = source
        self.labels_from = labels_from
        self.temperature = 1.0  # at which the scores of the network that answers are probabilities
        size = SIZE if size is None else size
        mean, std = mean or IMAGENET_MEAN, std or IMAGENET_STD
        self.preprocessing = (
            Preprocessing.for_image_size(size, mean, std)
            if resize is None
            else Preprocessing(size, resize, mean, std)
        )
        self.sizes = tuple(sizes or [size])
        self.hold_out, self.limit = hold_out, limit
        self.batch_size = batch_size
        self.augmentation = augmentation or Augmentation()
        self.workers = workers
        self.in_memory = in_memory
        self.seed = seed
        self.splits: Splits | None = None  # pictures without labels have none
        if labels_from is None:
            self.splits = Splits(source, train_split, validation_split, hold_out, limit)
            self.labels = self.splits.labels
        else:
            checkpoint = read_checkpoint(labels_from)
            self.labels, self.preprocessing = checkpoint.labels, checkpoint.preprocessing
            self.temperature = checkpoint.temperatures[-1]
            self.sizes = tuple(sizes or [self.preprocessing.size[0]])
        self._read: tuple[Pictures, Pictures] | None = None
        self._constants: tuple[torch.Tensor, torch.Tensor] | None = None

    def setup(self, stage: str = 'fit') -> None:
        """Decode the pictures, once. Raises DataError."""
        if self._read is not None:
            return
        side = kept_side(self.preprocessing, self.sizes)
        if self.splits is None:
            self._read = read_unlabelled(
                self.source, self.labels, shorter_side=side, hold_out=self.hold_out, limit=self.limit
            )
        else:
            # Nearly what the whole picture gives, and 60 photographs of 12 megapixels would keep 2 GB.
            whole = max(self.preprocessing.target_side, 2 * max(self.sizes))
            self._read = self.splits.read_both(side, whole, keep=self.in_memory)

    def class_counts(self) -> list[int]:
        """How many pictures of each class are learned from; decodes them where nothing else tells."""
        if self.splits is not None and self.splits.counts is not None:
            return [count for count, _ in self.splits.counts.values()]
        return np.bincount(self.pictures.targets, minlength=len(self.labels)).tolist()

    @property
    def pictures(self) -> Pictures:
        """Those to train on."""
        self.setup()
        assert self._read is not None  # setup reads or raises
        return self._read[0]

    @property
    def validation(self) -> Pictures:
        """Those held out."""
        self.setup()
        assert self._read is not None  # setup reads or raises
        return self._read[1]

    @property
    def digest(self) -> str:
        """Of the classes, and of which pictures train and which validate, by name; SHA-256, hexadecimal."""
        names = (tuple(self.labels), self.pictures.names, self.validation.names)
        return sha256(repr(names).encode()).hexdigest()

    @property
    def validation_is(self) -> str:
        """Where the validation pictures come from, for the provenance."""
        return 'pictures without labels' if self.splits is None else self.splits.validation_is

    def train_dataloader(self) -> Epochs:
        """Random views in random order, `Views`; on the device they become x [N, 3, side, side] and target
        probabilities [N, classes].
        """
        return loader(
            ViewsOf(self.pictures, self.augmentation), EpochOrder(self._orders), workers=self._workers
        )

    def val_dataloader(self) -> Epochs:
        """Pictures as the node preprocesses them: x [N, 3, size, size], class indices [N]."""
        rank, world = self._share
        own = range(rank, len(self.validation), world)
        size = max(VALIDATION_BATCH, self.batch_size // world)
        chunks = [own[start : start + size] for start in range(0, len(own), size)]
        prepared = PreparedOf(self.validation, self.preprocessing, chunks)
        height, width = self.preprocessing.size
        if self.in_memory and len(own) * height * width * 3 * 4 <= KEPT:
            return loader([prepared[number] for number in range(len(prepared))])
        return loader(prepared, workers=self._workers)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """What is left to do with a batch of `Views`, on its device: colours, normalisation and mixing."""
        if not isinstance(batch, Views):
            return batch
        return finished(batch, self.augmentation, len(self.labels), *self._normalisation(batch.pixels.device))

    def _orders(self) -> list[Batch]:
        trainer = self.trainer
        number, epochs = (trainer.current_epoch, trainer.max_epochs or 1) if trainer else (0, 1)
        return orders(
            len(self.pictures),
            self.batch_size,
            size=self.sizes[min(number * len(self.sizes) // epochs, len(self.sizes) - 1)],
            seed=self.seed,
            epoch=number,  # so that a resumed run sees the same pictures
            share=self._share,
        )

    @property
    def _share(self) -> tuple[int, int]:
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)

    @property
    def _workers(self) -> int:
        return workers_for(self._share[1]) if self.workers is None else self.workers

    def _normalisation(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation [3, 1, 1]; copied to a device once: a copy makes the processor wait."""
        if self._constants is None or self._constants[0].device != device:
            mean, std = (
                torch.tensor(values, device=device).view(3, 1, 1)
                for values in (self.preprocessing.mean, self.preprocessing.std)
            )
            self._constants = mean, std
        return self._constants


@dataclass(frozen=True)
class EpochOrder(Sampler[Batch]):
    """The batches of the epoch that the trainer is in whenever it is iterated."""

    orders: Callable[[], list[Batch]]

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.orders())

    def __len__(self) -> int:
        return len(self.orders())


def workers_for(processes: int) -> int:
    """How many workers each of so many training processes has by default.

    None where the network needs the two cores or fewer that there are; otherwise one core is left to the
    process itself. Eight make over 50,000 views/s of CIFAR (7,200 each, measured on a busy core).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return 0 if cores <= 2 else max(0, min(8, cores // processes - 1))
