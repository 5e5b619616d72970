"""Exit heads: small predictors on feature maps of any layout, sized to a share of the backbone's cost.

A head averages its map to a small grid, mixes channels, mixes neighbourhoods with separable convolutions (the
first may halve the grid), averages the grid and classifies. Where the backbone is too small to afford that it
gives up resolution, then depth, then width, then the grid. All shapes but the batch are fixed, as ONNX and
CUDA graphs want it.

A head for many classes does better to end in the network's own final layer. It expands its few channels to
the width that this layer takes, and has no weights that are for classes alone.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Sequence
from math import isfinite

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from impatient_ros.network.cut_points import CutPoint
from impatient_ros.network.final_layer import ACTIVATIONS, FinalLayer
from impatient_ros.network.head_spec import HeadSpec, axes

__all__ = ['HEAD_KINDS', 'Head', 'HeadSpec', 'build_heads', 'plan_head', 'plan_heads']

logger = logging.getLogger(__name__)

HEAD_KINDS = ('auto', 'own', 'shared')
# From about here on the classifier of a light head (64 channels in, 64 wide, two convolutions) has half of
# its weights or more.
MANY_CLASSES = 200
FINE, COARSE, COARSEST = 16, 8, 4  # the largest grids
_WIDTHS = (512, 448, 384, 320, 256, 224, 192, 160, 128, 112, 96, 80, 64, 48, 32, 24, 16, 12, 8, 6, 4)
# (grid, grid after the first convolution, depth, least width): what is preferred, if it can be so wide.
_OWN = (
    (FINE, COARSE, 2, 128),
    (COARSE, COARSE, 2, 64),
    (COARSE, COARSE, 1, 32),
    (COARSE, COARSE, 0, 16),
    (1, 1, 0, 1),
)
# The expansion to the last width is paid for at each place of the grid, so that this one is small.
_SHARED = ((FINE, COARSE, 2, 256), (COARSE, COARSEST, 2, 96), (COARSE, COARSEST, 1, 48))
# Narrower ones lose more to their few features than a classifier of their own costs; only where asked for.
_POOR_SHARED = ((COARSEST, COARSEST, 1, 24), (1, 1, 0, 4))


class Head(nn.Module):
    """Feature map in, logits [N, classes] out.

    `final` is the network's layer where the spec says that it is shared: the head then has the very same one.
    """

    def __init__(self, spec: HeadSpec, final: nn.Linear | None = None) -> None:
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
        if (spec.shared is None) != (final is None):
            raise ValueError('a head has a final layer given if, and only if, it shares one')
        self.expand = None
        if spec.shared is not None:
            self.expand = nn.Sequential(
                nn.Conv2d(width, spec.features, 1, bias=False),
                nn.BatchNorm2d(spec.features),
                ACTIVATIONS[spec.shared.activation](),
            )
        self.classify = nn.Linear(spec.features, spec.classes) if final is None else final

    def at(self, spec: HeadSpec) -> Head:
        """This head with the same layers for maps of the size in `spec`, which `spec.at` of its own gave."""
        twin = copy.copy(self)
        twin._modules = dict(self._modules)
        twin.spec = spec
        twin.pool = nn.AvgPool2d(spec.pool) if spec.pool != (1, 1) else nn.Identity()
        return twin

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """What is classified, [N, spec.features]; where the final layer is shared, it stands for what the
        network itself gives to that layer.
        """
        x = self.norm(x)
        mixed = self.mix(self.pool(self._as_map(x)))  # (N, width, height, width)
        token = None if self.token is None else F.relu(self.token(x[:, 0]))
        if self.expand is not None:
            mixed = self.expand(mixed if token is None else mixed + token[:, :, None, None])
            return mixed.mean((2, 3))
        return mixed.mean((2, 3)) if token is None else torch.cat([mixed.mean((2, 3)), token], dim=1)

    def _as_map(self, x: Tensor) -> Tensor:
        """(N, C, height, width), whatever the layout."""
        if self.spec.layout == 'NCHW':
            return x
        if self.spec.layout == 'NHWC':
            return x.permute(0, 3, 1, 2)
        if self.spec.layout == 'NLC':
            x = x[:, self.spec.prefix :].transpose(1, 2)
        return x.reshape(-1, self.spec.channels, *self.spec.grid)


def build_heads(specs: Iterable[HeadSpec], module: nn.Module) -> list[Head]:
    """Fresh heads; those that share the final layer get that of `module`. Raises ValueError."""
    return [
        Head(spec, None if spec.shared is None else spec.shared.of(module, spec.classes)) for spec in specs
    ]


def plan_heads(
    points: Sequence[CutPoint],
    classes: int,
    macs: int,
    image: Sequence[int],
    share: float | Sequence[float] = 0.05,
    kind: str = 'auto',
    final: FinalLayer | None = None,
) -> list[HeadSpec]:
    """A head for each of `points`, together at most `share` of the backbone's `macs`.

    `image` is (height, width). What one head does not need is left to the next. With one `share` per head
    each keeps to its own. Where not even the plainest
    heads fit, these are taken and a warning is logged. `kind` says whether heads end in the network's `final`
    layer (shared) or one each of their own; auto shares it from `MANY_CLASSES` on, where there is one and the
    budget allows a head that is wide enough. Raises ValueError.
    """
    if kind not in HEAD_KINDS:
        raise ValueError(f'head_kind is {kind!r}: write one of {", ".join(HEAD_KINDS)}')
    if kind == 'shared' and final is None:
        raise ValueError('head_kind is shared, but this network does not end in a Linear layer: write own')
    own = None if isinstance(share, int | float) else tuple(share)
    shares = (float(share),) if isinstance(share, int | float) else tuple(share)
    if not all(isfinite(each) and each > 0 for each in shares):
        raise ValueError(
            f'head_share is {share}: write what the heads may cost in parts of the backbone, as 0.05'
        )
    if own is not None and len(own) != len(points):
        raise ValueError(
            f'head_share has {len(own)} parts for {len(points)} heads: write one each, or one number'
        )
    total = sum(shares)
    left, specs = int(total * macs), []
    for number, point in enumerate(points):
        budget = left // (len(points) - number) if own is None else int(own[number] * macs)
        spec = plan_head(point, classes, image, budget, kind, final)
        left -= spec.macs
        specs.append(spec)
    if left < 0:
        logger.warning(
            'the plainest heads cost %.1f%% of the backbone, not %.1f%%: too small for %d exits, %d classes',
            100 * sum(spec.macs for spec in specs) / max(macs, 1), 100 * total, len(points) + 1, classes,
        )  # fmt: skip
    return specs


def plan_head(
    point: CutPoint,
    classes: int,
    image: Sequence[int],
    budget: int,
    kind: str = 'auto',
    final: FinalLayer | None = None,
) -> HeadSpec:
    """The head for one point that `budget` MACs allow, or the plainest; see `plan_heads`."""
    if kind == 'shared':
        return _richest(point, classes, image, budget, _SHARED + _POOR_SHARED, final)
    spec = _richest(point, classes, image, budget, _OWN)
    if kind == 'auto' and final is not None and classes >= MANY_CLASSES:
        sharing = _richest(point, classes, image, budget, _SHARED, final)
        spec = sharing if sharing.macs <= budget else spec
    return spec


def _richest(
    point: CutPoint,
    classes: int,
    image: Sequence[int],
    budget: int,
    plans: Sequence[tuple[int, int, int, int]],
    shared: FinalLayer | None = None,
) -> HeadSpec:
    """The first of the preferred heads that `budget` MACs allow, or the plainest."""
    channels, grid, prefix = axes(point.layout, point.shape, image)
    for side, after, depth, least in plans:
        pool = (-(-grid[0] // side), -(-grid[1] // side))
        halve = [2 if depth and length // by > after else 1 for length, by in zip(grid, pool, strict=True)]
        stride = (halve[0], halve[1])
        for width in _WIDTHS:
            if least <= width <= max(4 * channels, 64):
                spec = HeadSpec(
                    point.layout, channels, grid, prefix, classes, pool, stride, width, depth, shared
                )
                if spec.macs <= budget:
                    return spec
    return spec  # the last of the last plan, which suits any map
