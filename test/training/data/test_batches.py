"""training.data.batches: random views in random order, shared out among processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from training.data.augmentation import Augmentation
from training.data.batches import batches
from training.data.labelled_pictures import DataError, read

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)


def epoch(folder: Path, seed: int = 0, **options: object) -> list[tuple[torch.Tensor, torch.Tensor]]:
    options = {'size': 16, 'batch_size': 5, **options}
    rng = np.random.default_rng(seed)
    return list(batches(read(folder, 'train'), mean=MEAN, std=STD, rng=rng, **options))  # type: ignore[arg-type]


def test_an_epoch_has_whole_batches_of_normalised_pictures_and_probabilities(folder: Path) -> None:
    drawn = epoch(folder)
    assert len(drawn) == 2  # 12 pictures: the two left over would make a batch too small for batch norm
    for x, target in drawn:
        assert x.shape == (5, 3, 16, 16)
        assert x.dtype == torch.float32
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert target.shape == (5, 2)
        torch.testing.assert_close(target.sum(1), torch.ones(5))


def test_a_split_smaller_than_a_batch_still_makes_one(folder: Path) -> None:
    ((x, _),) = epoch(folder, batch_size=64)
    assert len(x) == 12


def test_the_same_seed_draws_the_same_epoch_and_another_seed_does_not(folder: Path) -> None:
    first, again, other = epoch(folder, 3), epoch(folder, 3), epoch(folder, 4)
    for (x, target), (x2, target2) in zip(first, again, strict=True):
        torch.testing.assert_close(x, x2)
        torch.testing.assert_close(target, target2)
    assert not torch.equal(first[0][0], other[0][0])


def test_without_colour_erasing_and_mixing_views_keep_their_colour_and_label(folder: Path) -> None:
    plain = Augmentation(colour=0.0, erase=0.0, mix=0.0)
    for x, target in epoch(folder, augmentation=plain):
        rgb = x * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
        assert (rgb[:, 0].mean((1, 2)) > 0.9).tolist() == (target[:, 0] == 1).tolist()  # red: a hat
        assert (rgb[:, 2].mean((1, 2)) > 0.9).tolist() == (target[:, 1] == 1).tolist()


def test_processes_share_every_batch_out(folder: Path) -> None:
    """Together they see what one process would, picture by picture (here: classes by colour)."""
    pictures = read(folder, 'train')

    def targets(share: tuple[int, int]) -> list[list[int]]:
        rng = np.random.default_rng(0)
        plain = Augmentation(mix=0.0)
        found = batches(
            pictures, size=8, batch_size=6, mean=MEAN, std=STD, rng=rng, augmentation=plain, share=share
        )
        return [t.argmax(1).tolist() for _, t in found]

    alone, first, second = targets((0, 1)), targets((0, 2)), targets((1, 2))
    assert len(alone) == len(first) == len(second) == 2
    for whole, a, b in zip(alone, first, second, strict=True):
        assert [whole[::2], whole[1::2]] == [a, b]
    with pytest.raises(DataError, match='too few for 7 processes'):
        targets((0, 7))
