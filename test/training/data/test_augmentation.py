"""training.data.augmentation: random views, colours and mixed batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.data.augmentation import Augmentation, mixed


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
        y, soft = mixed(x, target, always.mixing(20, np.random.default_rng(seed)))
        assert y[0].mean().item() == pytest.approx(soft[0, 1].item(), abs=1e-5)
        assert y[1].mean().item() == pytest.approx(soft[1, 1].item(), abs=1e-5)
    unmixed, same = mixed(x, target, Augmentation(mix=0.0).mixing(20, np.random.default_rng(0)))
    assert torch.equal(unmixed, x)
    assert torch.equal(same, target)


def test_colours_stay_in_range_and_erase_at_most_a_quarter() -> None:
    x = torch.rand(16, 3, 20, 20)
    strong = Augmentation(colour=0.8)
    y = strong.colours(x, strong.colour_changes(16, 20, np.random.default_rng(0)))
    assert not torch.equal(y, x)
    assert y.min() >= 0
    assert y.max() <= 1
    always = Augmentation(colour=0.0, erase=1.0)
    blanked = always.colours(x, always.colour_changes(16, 20, np.random.default_rng(0)))
    changed = (blanked - x).abs().amax(1).gt(1e-5).float().mean((1, 2))
    assert (changed > 0.02).all()
    assert (changed < 0.3).all()


def test_padding_moves_the_picture_by_whole_pixels_and_reflects_its_border() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    padded = np.pad(picture, ((4, 4), (4, 4), (0, 0)), mode='reflect')
    crops = {
        padded[y : y + 32, x : x + 32][:, ::step].tobytes(): (x, y, step)
        for y in range(9)
        for x in range(9)
        for step in (1, -1)
    }
    usual = Augmentation(area=(1.0, 1.0), aspect=1.0, rotation=0.0, pad=4)
    seen = {crops[usual.view(picture, 32, np.random.default_rng(seed)).tobytes()] for seed in range(600)}
    assert {x for x, _, _ in seen} == {y for _, y, _ in seen} == set(range(9))
    assert {step for _, _, step in seen} == {1, -1}


def test_without_mirroring_no_view_is_mirrored() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    arrows = Augmentation(area=(1.0, 1.0), aspect=1.0, rotation=0.0, mirror=0.0)
    for seed in range(20):
        assert np.array_equal(arrows.view(picture, 32, np.random.default_rng(seed)), picture)


def test_colours_change_saturation_then_contrast_then_brightness() -> None:
    x = 0.4 + 0.1 * torch.rand(4, 3, 8, 8)  # stays in range
    only = Augmentation(colour=0.3, erase=0.0)
    changes = only.colour_changes(4, 8, np.random.default_rng(0))
    assert changes is not None
    saturation, contrast, brightness = changes[:, :3, None, None, None].unbind(1)
    grey = x.mean(1, keepdim=True)
    expected = grey + (x - grey) * saturation
    middle = expected.mean((1, 2, 3), keepdim=True)
    expected = (middle + (expected - middle) * contrast) * brightness
    torch.testing.assert_close(only.colours(x, changes), expected)
