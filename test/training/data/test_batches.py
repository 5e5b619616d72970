"""training.data.batches: random views in random order, shared out among processes and workers."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data.augmentation import Augmentation
from training.data.batches import Batch, ViewsOf, finished, loader, orders
from training.data.labelled_pictures import DataError, Pictures, read

MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2)))
PLAIN = Augmentation(colour=0.0, erase=0.0, mix=0.0)


def epoch(
    pictures: Pictures,
    seed: int = 0,
    number: int = 0,
    batch_size: int = 5,
    augmentation: Augmentation | None = None,
    workers: int = 0,
    share: tuple[int, int] = (0, 1),
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    augmentation = augmentation or Augmentation()
    plan = orders(len(pictures), batch_size, size=16, seed=seed, epoch=number, share=share)
    drawn = loader(ViewsOf(pictures, augmentation), plan, workers=workers)
    assert len(drawn) == len(plan)
    return [finished(views, augmentation, len(pictures.labels), MEAN, STD) for views in drawn]


def equal(
    first: list[tuple[torch.Tensor, torch.Tensor]], second: list[tuple[torch.Tensor, torch.Tensor]]
) -> bool:
    return all(
        torch.equal(x, x2) and torch.equal(target, target2)
        for (x, target), (x2, target2) in zip(first, second, strict=True)
    )


def test_an_epoch_has_whole_batches_of_normalised_pictures_and_probabilities(folder: Path) -> None:
    drawn = epoch(read(folder, 'train'))
    assert len(drawn) == 2  # 12 pictures: the two left over would make a batch too small for batch norm
    for x, target in drawn:
        assert x.shape == (5, 3, 16, 16)
        assert x.dtype == torch.float32
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert target.shape == (5, 2)
        torch.testing.assert_close(target.sum(1), torch.ones(5))


def test_a_split_smaller_than_a_batch_still_makes_one(folder: Path) -> None:
    ((x, _),) = epoch(read(folder, 'train'), batch_size=64)
    assert len(x) == 12


def test_the_same_seed_draws_the_same_epoch_and_another_seed_or_epoch_does_not(shapes: Path) -> None:
    pictures = read(shapes, 'train', shorter_side=16)
    first = epoch(pictures, 3)
    assert equal(first, epoch(pictures, 3))
    assert not torch.equal(first[0][0], epoch(pictures, 4)[0][0])
    assert not torch.equal(first[0][0], epoch(pictures, 3, number=1)[0][0])
    assert not torch.equal(first[0][0], first[1][0])


@pytest.mark.parametrize('keep', [True, False])
def test_the_number_of_workers_changes_nothing(shapes: Path, tmp_path: Path, keep: bool) -> None:
    """Neither the batches nor torch's own random numbers; without `keep` all workers read from one zip."""
    packed = tmp_path / 'shapes.zip'
    with zipfile.ZipFile(packed, 'w') as archive:
        for path in sorted(shapes.rglob('*.*')):
            archive.write(path, path.relative_to(shapes).as_posix())
    pictures = read(packed, 'train', shorter_side=16, keep=keep)
    torch.manual_seed(0)
    alone = epoch(pictures)
    following = torch.rand(1)
    torch.manual_seed(0)
    assert equal(alone, epoch(pictures, workers=2))
    assert torch.equal(torch.rand(1), following)


def test_workers_stay_for_the_next_epoch_and_take_its_order(shapes: Path) -> None:
    pictures = read(shapes, 'train', shorter_side=16)
    plan: list[Batch] = []
    drawn = loader(ViewsOf(pictures, PLAIN), plan, workers=1)
    for number in range(2):
        plan[:] = orders(len(pictures), 5, size=16, seed=0, epoch=number)
        found = [finished(views, PLAIN, 3, MEAN, STD) for views in drawn]
        assert equal(found, epoch(pictures, number=number, augmentation=PLAIN))


def test_without_colour_erasing_and_mixing_views_keep_their_colour_and_label(folder: Path) -> None:
    for x, target in epoch(read(folder, 'train'), augmentation=PLAIN):
        rgb = x * STD + MEAN
        assert (rgb[:, 0].mean((1, 2)) > 0.9).tolist() == (target[:, 0] == 1).tolist()  # red: a hat
        assert (rgb[:, 2].mean((1, 2)) > 0.9).tolist() == (target[:, 1] == 1).tolist()


def test_processes_share_every_batch_out(folder: Path) -> None:
    """Together they see what one process would, picture by picture (here: classes by colour)."""
    pictures = read(folder, 'train')

    def targets(share: tuple[int, int]) -> list[list[int]]:
        found = epoch(pictures, batch_size=6, augmentation=Augmentation(mix=0.0), share=share)
        return [t.argmax(1).tolist() for _, t in found]

    alone, first, second = targets((0, 1)), targets((0, 2)), targets((1, 2))
    assert len(alone) == len(first) == len(second) == 2
    for whole, a, b in zip(alone, first, second, strict=True):
        assert [whole[::2], whole[1::2]] == [a, b]
    with pytest.raises(DataError, match='too few for 7 processes'):
        targets((0, 7))


def test_each_process_draws_its_own_views() -> None:
    keys = [orders(8, 4, size=16, seed=1, epoch=2, share=(rank, 2))[0].key for rank in (0, 1)]
    first, second = (np.random.default_rng(key).random() for key in keys)
    assert first != second
