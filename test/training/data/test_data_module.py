"""training.data.data_module: which pictures train, which validate, and in which size."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from training.data.augmentation import Augmentation
from training.data.data_module import PictureData
from training.data.labelled_pictures import DataError

PLAIN = Augmentation(mix=0.0)


def test_the_split_validation_validates_where_there_is_one(shapes: Path) -> None:
    data = PictureData(str(shapes), size=32, resize=32, limit=30)
    assert (len(data.pictures), len(data.validation)) == (30, 30)
    assert all(name.startswith('validation/') for name in data.validation.names)
    assert data.validation_is == 'split validation'


def test_without_one_or_where_asked_some_training_pictures_are_held_out(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / 'train').symlink_to(shapes / 'train')
    asked = PictureData(str(shapes), size=32, resize=32, hold_out=12)
    data = PictureData(str(tmp_path), size=32, resize=32, limit=30, hold_out=12)
    assert asked.validation.names == data.validation.names
    assert (len(data.pictures), len(data.validation)) == (30, 12)
    assert set(data.pictures.names) & set(data.validation.names) == set()
    assert data.validation_is == '12 pictures held out of the split train'
    automatic = PictureData(str(tmp_path), size=32, resize=32)
    assert (len(automatic.pictures), len(automatic.validation)) == (57, 15)  # a fifth of 24, three times
    with pytest.raises(DataError, match=r'data.hold_out is 2: write at least 3, one for each class'):
        PictureData(str(tmp_path), hold_out=2)


@pytest.mark.parametrize('hold_out', [0, 2])
def test_photographs_to_validate_on_are_kept_small_and_change_little(tmp_path: Path, hold_out: int) -> None:
    picture = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), np.uint8), (0, 0), 40
    )
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    for split in ('train', 'validation'):
        for label in ('a', 'b'):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(2):
                cv2.imwrite(str(tmp_path / split / label / f'{number}.png'), picture)
    data = PictureData(str(tmp_path), size=32, resize=36, hold_out=hold_out)
    assert max(image.nbytes for image in data.validation.images) == 72 * 96 * 3
    whole = data.preprocessing.batch([picture[:, :, ::-1]])
    difference = np.abs(next(iter(data.val_dataloader()))[0].numpy() - whole)
    assert difference.mean() * max(data.preprocessing.std) * 255 < 2  # of 255 levels


def test_sizes_follow_one_another_over_the_epochs(shapes: Path) -> None:
    data = PictureData(str(shapes), size=32, resize=32, sizes=[16, 32], batch_size=36, augmentation=PLAIN)
    trainer = SimpleNamespace(current_epoch=0, max_epochs=4, global_rank=0, world_size=1)
    data.trainer = trainer  # type: ignore[assignment]
    loader = data.train_dataloader()
    assert len(loader) == 2
    seen = []
    for epoch in range(4):
        trainer.current_epoch = epoch
        seen.append(next(iter(loader)).pixels.shape[1])
    assert seen == [16, 16, 32, 32]


def test_an_epoch_has_its_own_order_and_repeats_exactly(shapes: Path) -> None:
    data = PictureData(str(shapes), size=32, resize=32, batch_size=36, augmentation=PLAIN, seed=3)
    trainer = SimpleNamespace(current_epoch=1, max_epochs=4, global_rank=0, world_size=1)
    data.trainer = trainer  # type: ignore[assignment]
    first, again = (next(iter(data.train_dataloader())).pixels for _ in range(2))
    assert torch.equal(first, again)
    trainer.current_epoch = 2
    assert not torch.equal(first, next(iter(data.train_dataloader())).pixels)


def test_processes_validate_each_on_their_own_pictures(shapes: Path) -> None:
    data = PictureData(str(shapes), size=32, resize=32)
    counts = []
    for rank in range(4):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=4)  # type: ignore[assignment]
        counts.append(sum(len(target) for _, target in data.val_dataloader()))
    assert counts == [8, 8, 7, 7]


@pytest.mark.parametrize(
    'options',
    [{'batch_size': 0}, {'hold_out': -1}, {'limit': 0}, {'sizes': [0]}, {'size': 0}, {'workers': -1}],
)
def test_numbers_that_make_no_sense_are_refused(options: dict, shapes: Path) -> None:
    with pytest.raises(ValueError, match=r'write|must be'):
        PictureData(str(shapes), **options)


def test_validation_pictures_are_prepared_once_or_by_workers(shapes: Path) -> None:
    kept = PictureData(str(shapes), size=32, resize=32, batch_size=8)
    read = PictureData(str(shapes), size=32, resize=32, batch_size=8, in_memory=False, workers=1)
    loader = kept.val_dataloader()
    for again in (loader, read.val_dataloader()):
        for (x, target), (x2, target2) in zip(loader, again, strict=True):
            assert torch.equal(x, x2)
            assert torch.equal(target, target2)
    assert next(iter(loader))[0] is next(iter(loader))[0]
