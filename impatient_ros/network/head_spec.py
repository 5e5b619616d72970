"""What an exit head is built from, for feature maps of any layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

from impatient_ros.network.final_layer import FinalLayer

__all__ = ['HeadSpec', 'axes']


@dataclass(frozen=True)
class HeadSpec:
    """Everything that a head is built from.

    `grid` is the (height, width) of the map, for tokens of their patches; `prefix` the number of tokens
    before the patches, the first of them the class token; `pool` the (height, width) that are averaged;
    `depth` the number of separable convolutions, `stride` that of the first; `shared` is the network's final
    layer where the head ends in it.
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
    shared: FinalLayer | None = None

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
            or not isinstance(self.shared, FinalLayer | None)
        ):
            raise ValueError(f'not the description of a head: {self}')

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeadSpec:
        """The inverse of `to_dict`. Raises ValueError."""
        fields: dict[str, Any] = {key: tuple(x) if isinstance(x, list) else x for key, x in values.items()}
        try:
            if (shared := fields.pop('shared', None)) is not None:
                fields['shared'] = FinalLayer(**shared)
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f'not the description of a head: {error}') from error

    def to_dict(self) -> dict[str, Any]:
        values = {key: list(each) if isinstance(each, tuple) else each for key, each in asdict(self).items()}
        if self.shared is None:
            del values['shared']
        return values

    def at(self, shape: tuple[int, ...], image: Sequence[int]) -> HeadSpec:
        """The same head, weights and all, for maps of another size: `shape` without the batch.

        It averages and strides as before, so that its layers see what they know; an axis that it averages
        over entirely stays so. Raises ValueError where that is impossible.
        """
        channels, grid, prefix = axes(self.layout, shape, image)
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
        """The grid after the first separable convolution, if there is one."""
        if self.depth == 0:
            return self.pooled
        return -(-self.pooled[0] // self.stride[0]), -(-self.pooled[1] // self.stride[1])

    @property
    def kernel(self) -> tuple[int, int]:
        """Of the separable convolutions: they have no neighbours across an axis that is one wide."""
        return 3 if self.pooled[0] > 1 else 1, 3 if self.pooled[1] > 1 else 1

    @property
    def features(self) -> int:
        """How many numbers are classified."""
        if self.shared is not None:
            return self.shared.width
        return self.width * (2 if self.prefix else 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image; averages and normalisations are free, as elsewhere."""
        channels = (prod(self.pooled) + bool(self.prefix)) * self.channels * self.width
        neighbours = self.depth * prod(self.mixed) * self.width * (prod(self.kernel) + self.width)
        expansion = 0 if self.shared is None else prod(self.mixed) * self.width * self.features
        return channels + neighbours + expansion + self.features * self.classes


def axes(layout: str, shape: tuple[int, ...], image: Sequence[int]) -> tuple[int, tuple[int, int], int]:
    """Channels, grid and prefix, as in a `HeadSpec`, of a feature map of `shape` without its batch."""
    channels, grid, prefix = _AXES[layout](shape, image)
    return channels, grid, prefix


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
