"""Which layout in memory a network is trained in."""

import torch
from torch import nn

from training.model.training_module import memory_layout


def test_channels_last_but_where_torch_would_crash():
    narrow = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 8, 1, stride=2)))
    assert memory_layout(narrow) is torch.contiguous_format
    for fine in (nn.Conv2d(8, 8, 1, stride=2), nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(4, 8, 1)):
        assert memory_layout(nn.Sequential(fine)) is torch.channels_last
