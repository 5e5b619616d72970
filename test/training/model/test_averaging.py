"""training.model.averaging: the running average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from training.model.averaging import RunningAverage


def test_weights_and_running_statistics_are_averaged_and_counts_are_copied() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    average = copy.deepcopy(network).requires_grad_(False).eval()
    before = copy.deepcopy(average.state_dict())
    for parameter in network.parameters():
        parameter.data += torch.rand_like(parameter)
    network(torch.randn(2, 3, 4, 4))
    moved = RunningAverage(network, average)
    moved.update(0.9)
    after = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.9 * before[name] + 0.1 * after[name])
            assert not torch.equal(value, before[name])
        else:
            assert value == 0
    moved.copy_counts()
    assert average[1].num_batches_tracked == 1
    assert torch.equal(network[0].weight, after['0.weight'])
