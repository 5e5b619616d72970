"""Classifiers for small pictures, of which torchvision's would leave a single pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

__all__ = ['SmallResNet']


class SmallResNet(nn.Module):
    """A residual network after He et al., "Deep Residual Learning" (CVPR 2016), for pictures of 32 px.

    Args:
        classes: how many scores it gives.
        widths: channels of each group of blocks; every group after the first halves the picture.
        blocks: residual blocks per group.
        stem_stride: of the first convolution; 2 quarters the cost of everything after it.
        norm: batch normalisation; without it the network computes the same for a picture whatever the batch.
    """

    def __init__(
        self,
        classes: int = 10,
        widths: Sequence[int] = (32, 64, 128),
        blocks: int = 2,
        stem_stride: int = 2,
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, stem_stride, 1, bias=not norm)
        self.stem_norm = nn.BatchNorm2d(widths[0]) if norm else nn.Identity()
        layers: list[nn.Module] = []
        channels = widths[0]
        for group, width in enumerate(widths):
            for block in range(blocks):
                stride = 2 if group and not block else 1
                layers.append(_Block(channels, width, stride, norm))
                channels = width
        self.blocks = nn.Sequential(*layers)
        self.classify = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [N, 3, H, W] -> logits [N, classes]."""
        x = functional.relu(self.stem_norm(self.stem(x)))
        return self.classify(self.blocks(x).mean((2, 3)))


class _Block(nn.Module):
    """Two convolutions with a skip connection, which is a projection where shapes change."""

    def __init__(self, channels: int, width: int, stride: int, norm: bool) -> None:
        super().__init__()

        def normalised(inputs: int, kernel: int, by: int) -> nn.Sequential:
            conv = nn.Conv2d(inputs, width, kernel, by, kernel // 2, bias=not norm)
            return nn.Sequential(conv, nn.BatchNorm2d(width) if norm else nn.Identity())

        self.first = normalised(channels, 3, stride)
        self.second = normalised(width, 3, 1)
        changes = stride != 1 or channels != width
        self.around = normalised(channels, 1, stride) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [N, channels, H, W] -> [N, width, H / stride, W / stride]."""
        return functional.relu(self.around(x) + self.second(functional.relu(self.first(x))))
