"""Exit heads: small predictors on feature maps of any layout, sized to a share of the backbone's cost.

A head averages its map to a small grid, mixes channels, mixes neighbourhoods with separable convolutions (the
first may halve the grid), averages the grid and classifies. Where the backbone is too small to afford that it
gives up resolution, then depth, then width, then the grid. All shapes but the batch are fixed, as ONNX and
CUDA graphs want it.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from impatient_ros.network.cut_points import CutPoint

__all__ = ['Head', 'HeadSpec', 'plan_heads']

logger = logging.getLogger(__name__)

FINE, COARSE = 16, 8  # the largest grids: before a convolution that halves it, and without one
_WIDTHS = (512, 448, 384, 320, 256, 224, 192, 160, 128, 112, 96, 80, 64, 48, 32, 24, 16, 12, 8, 6, 4)
# (grid, depth, least width): what is preferred, as long as it can be at least that wide.
_PLANS = ((FINE, 2, 128), (COARSE, 2, 64), (COARSE, 1, 32), (COARSE, 0, 16), (1, 0, 1))


@dataclass(frozen=True)
class HeadSpec:
    """Everything that a head is built from.

    `grid` is the (height, width) of the map, for tokens of their patches; `prefix` the number of tokens
    before the patches, the first of them the class token; `pool` the (height, width) that are averaged;
    `depth` the number of separable convolutions, `stride` that of the first.
    """

    layout: str
    channels: int
    grid: tuple[int, int]
    prefix: int
    classes: int
    pool: tuple[int, int]
    stride: tuple[int, int]
    width: int
    depth: int

    def __post_init__(self) -> None:
        pairs = (self.grid, self.pool, self.stride)
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            raise ValueError(f'not the description of a head: {self}')
        positive = (self.channels, self.classes, self.width, *self.grid, *self.pool, *self.stride)
        numbers = (*positive, self.prefix, self.depth)
        if (
            not isinstance(self.layout, str)
            or self.layout not in _AXES
            or any(type(number) is not int or not 0 <= number <= 1 << 20 for number in numbers)
            or 0 in positive
            or 0 in self.pooled
        ):
            raise ValueError(f'not the description of a head: {self}')

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeadSpec:
        """The inverse of `to_dict`. Raises ValueError."""
        fields: dict[str, Any] = {key: tuple(x) if isinstance(x, list) else x for key, x in values.items()}
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f'not the description of a head: {error}') from error

    def to_dict(self) -> dict[str, Any]:
        return {key: list(each) if isinstance(each, tuple) else each for key, each in asdict(self).items()}

    def at(self, shape: tuple[int, ...], image: Sequence[int]) -> HeadSpec:
        """The same head, weights and all, for maps of another size: `shape` without the batch.

        It averages and strides as before, so that its layers see what they know; an axis that it averages
        over entirely stays so. Raises ValueError where that is impossible.
        """
        channels, grid, prefix = _AXES[self.layout](shape, image)
        if (channels, prefix) != (self.channels, self.prefix):
            raise ValueError(
                f'its features are {"x".join(map(str, shape))}: another width or number of tokens'
            )
        pool = []
        for length, by, left in zip(grid, self.pool, self.pooled, strict=True):
            if left > 1 == length and self.depth:
                raise ValueError('its map is one pixel wide, the head there mixes neighbours')
            pool.append(length if left == 1 else max(1, min(by, length // 2)))
        return replace(self, grid=grid, pool=(pool[0], pool[1]))

    @property
    def pooled(self) -> tuple[int, int]:
        return self.grid[0] // self.pool[0], self.grid[1] // self.pool[1]

    @property
    def mixed(self) -> tuple[int, int]:
        """The grid after the first separable convolution."""
        return -(-self.pooled[0] // self.stride[0]), -(-self.pooled[1] // self.stride[1])

    @property
    def kernel(self) -> tuple[int, int]:
        """Of the separable convolutions: they have no neighbours across an axis that is one wide."""
        return 3 if self.pooled[0] > 1 else 1, 3 if self.pooled[1] > 1 else 1

    @property
    def features(self) -> int:
        """How many numbers are classified."""
        return self.width * (2 if self.prefix else 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image; averages and normalisations are free, as elsewhere."""
        channels = (prod(self.pooled) + bool(self.prefix)) * self.channels * self.width
        neighbours = self.depth * prod(self.mixed) * self.width * (prod(self.kernel) + self.width)
        return channels + neighbours + self.features * self.classes


class Head(nn.Module):
    """Feature map in, logits [N, classes] out."""

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        width, kernel = spec.width, spec.kernel
        # The residual stream of transformers is not normalised; its largest channels would drown the others.
        self.norm = nn.LayerNorm(spec.channels) if spec.layout in ('NHWC', 'NLC') else nn.Identity()
        self.pool = nn.AvgPool2d(spec.pool) if spec.pool != (1, 1) else nn.Identity()
        mix: list[nn.Module] = [
            nn.Conv2d(spec.channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        for layer in range(spec.depth):
            stride = spec.stride if layer == 0 else (1, 1)
            padding = (kernel[0] // 2, kernel[1] // 2)
            mix += [
                nn.Conv2d(width, width, kernel, stride, padding, groups=width, bias=False),
                nn.Conv2d(width, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
        self.mix = nn.Sequential(*mix)
        self.token = nn.Linear(spec.channels, width) if spec.prefix else None
        self.classify = nn.Linear(spec.features, spec.classes)

    def at(self, spec: HeadSpec) -> Head:
        """This head with the same layers for maps of the size in `spec`, which `spec.at` of its own gave."""
        twin = copy.copy(self)
        twin._modules = dict(self._modules)
        twin.spec = spec
        twin.pool = nn.AvgPool2d(spec.pool) if spec.pool != (1, 1) else nn.Identity()
        return twin

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        features = self.mix(self.pool(self._as_map(x))).mean((2, 3))  # (N, width)
        if self.token is not None:
            features = torch.cat([features, F.relu(self.token(x[:, 0]))], dim=1)
        return self.classify(features)

    def _as_map(self, x: Tensor) -> Tensor:
        """(N, C, height, width), whatever the layout."""
        if self.spec.layout == 'NCHW':
            return x
        if self.spec.layout == 'NHWC':
            return x.permute(0, 3, 1, 2)
        if self.spec.layout == 'NLC':
            x = x[:, self.spec.prefix :].transpose(1, 2)
        return x.reshape(-1, self.spec.channels, *self.spec.grid)


def plan_heads(
    points: Sequence[CutPoint], classes: int, macs: int, image: Sequence[int], share: float = 0.05
) -> list[HeadSpec]:
    """A head for each of `points`, together at most `share` of the backbone's `macs`.

    `image` is (height, width). What one head does not need is left to the next. Where not even the plainest
    heads fit, these are taken and a warning is logged. Raises ValueError.
    """
    if not isfinite(share) or share <= 0:
        raise ValueError(
            f'head_share is {share}: write what the heads may cost in parts of the backbone, as 0.05'
        )
    left, specs = int(share * macs), []
    for number, point in enumerate(points):
        spec = _richest(point, classes, image, left // (len(points) - number))
        left -= spec.macs
        specs.append(spec)
    if left < 0:
        logger.warning(
            'the plainest heads cost %.1f%% of the backbone, not %.1f%%: too small for %d exits, %d classes',
            100 * sum(spec.macs for spec in specs) / max(macs, 1), 100 * share, len(points) + 1, classes,
        )  # fmt: skip
    return specs


def _richest(point: CutPoint, classes: int, image: Sequence[int], budget: int) -> HeadSpec:
    """The first of the preferred heads that `budget` MACs allow, or the plainest."""
    channels, grid, prefix = _AXES[point.layout](point.shape, image)
    for side, depth, least in _PLANS:
        pool = (-(-grid[0] // side), -(-grid[1] // side))
        halve = [2 if depth and length // by > COARSE else 1 for length, by in zip(grid, pool, strict=True)]
        stride = (halve[0], halve[1])
        for width in _WIDTHS:
            if least <= width <= max(4 * channels, 64):
                spec = HeadSpec(point.layout, channels, grid, prefix, classes, pool, stride, width, depth)
                if spec.macs <= budget:
                    return spec
    return spec  # the last of the last plan, which suits any map


def _tokens(shape: tuple[int, ...], image: Sequence[int]) -> tuple[int, tuple[int, int], int]:
    """Tokens: as many patches as make a grid of the image's proportions, before them what is left."""
    length, channels = shape
    for prefix in range(min(6, length)):
        patches = length - prefix
        for height in range(1, patches + 1):
            width = patches // height
            if height * width == patches and len(image) == 2 and height * image[1] == width * image[0]:
                return channels, (height, width), prefix
    return channels, (length, 1), 0


# How to read channels, grid and prefix from the shape of a feature map of each layout.
_AXES: dict[str, Any] = {
    'NCHW': lambda shape, image: (shape[0], (shape[1], shape[2]), 0),
    'NHWC': lambda shape, image: (shape[2], (shape[0], shape[1]), 0),
    'NLC': _tokens,
    'NCL': lambda shape, image: (shape[0], (shape[1], 1), 0),
    'NC': lambda shape, image: (shape[0], (1, 1), 0),
}
