"""The pictures of one training: which, at which size, in which batches.

Sizes are in pixels. `batch_size` counts all processes together, so that the number of devices changes nothing
but the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import lightning
import numpy as np
import torch

from impatient_ros.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from training.data.augmentation import Augmentation
from training.data.batches import batches
from training.data.labelled_pictures import DataError, Pictures, labels_of, read, splits_of

__all__ = ['PictureData']

VALIDATION = 'validation'
VALIDATION_BATCH = 64  # pictures at a time: bounds the memory, does not change the result


class PictureData(lightning.LightningDataModule):
    """Pictures for training and validation.

    Args:
        source: a folder or zip with <split>/<class>/<picture>, or 'torchvision:<data set>:<folder>'.
        size: side of the network's input, px.
        resize: shorter side of a picture before the centre crop, px; default 256/224 of `size`.
        sizes: sides while training, one after the other over equal parts of the epochs; default `size`.
        hold_out: how many pictures of the split train validate, instead of the split `validation`; the same
            ones whatever the seed.
        limit: how many pictures to train on, evenly from all classes; default all.
        batch_size: over all processes together.
        augmentation: random views of the training pictures.
        in_memory: decode every picture once; false where the data set does not fit, such as ImageNet.
        seed: of the order and the views; set by --seed_everything.
    """

    def __init__(
        self,
        source: str,
        size: int = 224,
        resize: int | None = None,
        sizes: list[int] | None = None,
        hold_out: int = 0,
        limit: int | None = None,
        batch_size: int = 64,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        augmentation: Augmentation | None = None,
        in_memory: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (('batch_size', batch_size, 1), ('hold_out', hold_out, 0)):
            if value < least:
                raise ValueError(f'data.{name} is {value}: write a whole number, at least {least}')
        if limit is not None and limit < 1:
            raise ValueError(f'data.limit is {limit}: write how many pictures to train on')
        if any(side < 1 for side in sizes or []):
            raise ValueError(f'data.sizes is {sizes}: write sides in pixels')
        self.source = source
        self.preprocessing = (
            Preprocessing.for_image_size(size, mean, std)
            if resize is None
            else Preprocessing(size, resize, mean, std)
        )
        self.sizes = tuple(sizes or [size])
        self.hold_out, self.limit = hold_out, limit
        self.batch_size = batch_size
        self.augmentation = augmentation or Augmentation()
        self.in_memory = in_memory
        self.seed = seed
        self.labels = labels_of(source)
        self._read: tuple[Pictures, Pictures] | None = None

    def setup(self, stage: str = 'fit') -> None:
        """Decode the pictures, once. Raises DataError."""
        if self._read is None:
            own = self._own_split
            if not own and self.hold_out < len(self.labels):
                other = next((each for each in ('val', 'valid') if each in splits_of(self.source)), None)
                hint = 'add one' if other is None else f'rename {other!r} to that'
                raise DataError(
                    f'{self.source}: no split {VALIDATION!r}; {hint}, or write data.hold_out: how many '
                    f'pictures of the split train are to validate (at least {len(self.labels)})'
                )
            if own:
                labels_of(self.source, VALIDATION)  # before anything is decoded
            classes = len(self.labels)
            held = 0 if own else self.hold_out // classes
            stop = None if self.limit is None else held + max(1, self.limit // classes)
            # A quarter more than the network's input, so that crops are not enlarged much.
            side = round(1.25 * max(self.preprocessing.resize, *self.sizes))
            train = read(self.source, 'train', shorter_side=side, part=(held, stop), keep=self.in_memory)
            # Nearly what the whole picture gives, and 60 photographs of 12 megapixels would keep 2 GB.
            whole = max(self.preprocessing.target_side, 2 * max(self.sizes))
            split, part = (VALIDATION, None) if own else ('train', (0, held))
            validation = read(self.source, split, shorter_side=whole, part=part, keep=self.in_memory)
            self._read = train, validation

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
    def _own_split(self) -> bool:
        return not self.hold_out and VALIDATION in splits_of(self.source)

    @property
    def validation_is(self) -> str:
        """Where the validation pictures come from, for the provenance."""
        own = self._own_split
        return (
            f'split {VALIDATION}' if own else f'{len(self.validation)} pictures held out of the split train'
        )

    def train_dataloader(self) -> Loader:
        """Random views in random order; x [N, 3, side, side], target probabilities [N, classes]."""
        trainer = self.trainer
        share = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)

        def epoch() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            # Read with the first batch: the trainer may not know its epoch when it takes this iterator.
            number, epochs = (trainer.current_epoch, trainer.max_epochs or 1) if trainer else (0, 1)
            yield from batches(
                self.pictures,
                size=self.sizes[min(number * len(self.sizes) // epochs, len(self.sizes) - 1)],
                batch_size=self.batch_size,
                mean=self.preprocessing.mean,
                std=self.preprocessing.std,
                # Derived from the epoch's number, so that a resumed run sees the same pictures.
                rng=np.random.default_rng([self.seed, number]),
                augmentation=self.augmentation,
                share=share,
            )

        return Loader(epoch, max(1, len(self.pictures) // self.batch_size))

    def val_dataloader(self) -> Loader:
        """Pictures as the node preprocesses them: x [N, 3, size, size], class indices [N]."""
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        own = range(rank, len(self.validation), world)
        starts = range(0, len(own), VALIDATION_BATCH)
        chunks = [own[start : start + VALIDATION_BATCH] for start in starts]

        def epoch() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            return (self._prepared(chunk) for chunk in chunks)

        return Loader(epoch, len(chunks))

    def _prepared(self, chunk: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.preprocessing.batch(self.validation.load(chunk))
        return torch.from_numpy(x), torch.from_numpy(self.validation.targets[list(chunk)])


@dataclass(frozen=True)
class Loader:
    """Yields the batches of one epoch each time it is iterated; its length is known beforehand."""

    epoch: Callable[[], Iterator[tuple[torch.Tensor, torch.Tensor]]]
    length: int

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self.epoch()

    def __len__(self) -> int:
        return self.length
