"""training.model.resolutions: which sizes a batch trains, and its pictures at each of them."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.images.preprocessing import Preprocessing
from training.model.networks import NetworkOptions, build
from training.model.resolutions import at_sides, macs_per_picture, path_names, resized, sandwich, sides_of

OWN = {
    'module': 'training.model.small_backbones.SmallResNet',
    'module_options': {'widths': [4, 8], 'blocks': 1},
}


def test_without_resolutions_there_is_the_networks_own() -> None:
    assert sides_of([], (32, 32)) == (32,)
    assert sides_of([], (32, 48)) == (32,)
    assert sides_of([16, 24, 32], (32, 32)) == (16, 24, 32)


@pytest.mark.parametrize('sides', [[32, 16], [16, 24], [16, 16, 32], [0, 32], [16, 48]])
def test_sides_that_do_not_ascend_to_the_networks_own_are_refused(sides: list[int]) -> None:
    with pytest.raises(ValueError, match='here 32'):
        sides_of(sides, (32, 32))


def test_only_squares_have_several_resolutions() -> None:
    with pytest.raises(ValueError, match='write sides'):
        sides_of([16, 32], (32, 48))


def test_paths_are_named_by_their_exit_and_where_there_are_several_by_their_resolution() -> None:
    assert path_names((32,), 2) == ('1', '2')
    assert path_names((16, 32), 2) == ('16px_1', '16px_2', '32px_1', '32px_2')


@given(st.integers(1, 9), st.integers(0, 1 << 30))
def test_a_batch_trains_the_smallest_the_largest_and_one_between(count: int, seed: int) -> None:
    trained = sandwich(count, np.random.default_rng(seed))
    indices = [index for index, _ in trained]
    assert indices == sorted(set(indices))
    assert {0, count - 1} <= set(indices) <= set(range(count))
    assert len(trained) == min(count, 3)
    assert sum(stands_for for _, stands_for in trained) == count


def test_on_average_every_resolution_counts_once() -> None:
    rng, counts = np.random.default_rng(0), Counter[int]()
    for _ in range(3000):
        for index, stands_for in sandwich(5, rng):
            counts[index] += stands_for
    assert [counts[index] / 3000 for index in range(5)] == pytest.approx([1.0] * 5, abs=0.1)


def test_a_smaller_batch_shows_what_evaluation_shows_at_that_size() -> None:
    rng = np.random.default_rng(0)
    pictures = [
        cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC)
        for _ in range(3)
    ]
    preprocessing = Preprocessing(64, 72)
    small = resized(torch.from_numpy(preprocessing.batch(pictures)), 32)
    expected = preprocessing.at(32).batch(pictures)
    assert small.shape == expected.shape
    # In units of the pictures' standard deviation: they differ by the order of crop and resize alone.
    assert np.abs(small.numpy() - expected).mean() < 0.03 * expected.std()


def test_a_pixel_of_a_smaller_batch_is_the_average_of_its_area() -> None:
    checks = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(8, 8).expand(2, 3, 16, 16)
    torch.testing.assert_close(resized(checks, 8)[..., 2:-2, 2:-2], torch.full((2, 3, 4, 4), 0.5))
    last = checks.contiguous(memory_format=torch.channels_last)
    assert resized(last, 8).is_contiguous(memory_format=torch.channels_last)
    assert resized(last, 16) is last


def test_the_network_at_all_sides_is_one_network() -> None:
    network = build(NetworkOptions(**OWN, exits=2), classes=4, image_size=(32, 32))
    small, own = at_sides(network, (16, 32))
    assert own is network
    small.train()(torch.randn(4, 3, 16, 16))[-1].sum().backward()
    assert all(p.grad is not None for p in network.stages.parameters())
    buffers = dict(network.named_buffers())
    assert any(name.endswith('running_mean') and value.any() for name, value in buffers.items())


def test_a_picture_costs_what_its_batch_costs_on_average() -> None:
    network = build(NetworkOptions(**OWN, exits=2), classes=4, image_size=(32, 32))
    networks = at_sides(network, (16, 20, 24, 32))
    whole = [each.costs('interruptible')[-1] for each in networks]
    assert macs_per_picture(networks[-1:]) == whole[-1]
    assert macs_per_picture(networks[2:]) == whole[2] + whole[3]
    assert macs_per_picture(networks) == whole[0] + (whole[1] + whole[2]) / 2 + whole[3]
