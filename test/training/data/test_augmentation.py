"""training.data.augmentation: random views, colours and mixed batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.data.augmentation import Augmentation


def test_a_view_without_turning_covers_the_crop_it_drew() -> None:
    """A whole-picture view of a ramp is the ramp again, at another size, or its mirror image."""
    ramp = np.repeat(np.linspace(0, 250, 64).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    whole = Augmentation(area=(1.0, 1.0), aspect=1.0, rotation=0.0)
    seen = set()
    for seed in range(8):
        view = whole.view(ramp, 32, np.random.default_rng(seed)).astype(float)[16, :, 0]
        mirrored = bool(view[0] > view[-1])
        seen.add(mirrored)
        expected = (ramp[0, ::2, 0].astype(float) + ramp[0, 1::2, 0]) / 2
        np.testing.assert_allclose(view[::-1] if mirrored else view, expected, atol=1.2)
    assert seen == {True, False}


def test_a_mixed_batch_keeps_the_share_of_each_picture() -> None:
    x = torch.zeros(2, 3, 20, 20)
    x[1] = 1
    target = torch.eye(2)
    always = Augmentation(mix=1.0)
    for seed in range(10):
        mixed, soft = always.mixed(x, target, np.random.default_rng(seed))
        assert mixed[0].mean().item() == pytest.approx(soft[0, 1].item(), abs=1e-5)
        assert mixed[1].mean().item() == pytest.approx(soft[1, 1].item(), abs=1e-5)
    unmixed, same = Augmentation(mix=0.0).mixed(x, target, np.random.default_rng(0))
    assert torch.equal(unmixed, x)
    assert torch.equal(same, target)


def test_colours_stay_in_range_and_erase_at_most_a_quarter() -> None:
    x = torch.rand(16, 3, 20, 20)
    y = Augmentation(colour=0.8).colours(x.clone(), np.random.default_rng(0))
    assert y.min() >= 0
    assert y.max() <= 1
    blanked = Augmentation(colour=0.0, erase=1.0).colours(x.clone(), np.random.default_rng(0))
    changed = (blanked - x).abs().amax(1).gt(1e-5).float().mean((1, 2))
    assert (changed > 0.02).all()
    assert (changed < 0.3).all()
