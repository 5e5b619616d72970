"""`Preprocessing` on a torch device: the picture's bytes are uploaded, everything else is computed there.

Equal to `images.preprocessing.Preprocessing` up to the rounding of intermediate pictures to whole
numbers, which is done there and not here: below three grey levels, half of one on average.
"""

from __future__ import annotations

from math import ceil, floor, log2
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.images.resample import HALVE_BEYOND, PLAIN_SHRINK

__all__ = ['DevicePreparation']

KEPT = 8  # sizes of pictures, for each of which there is a grid on the device


class _Sampling(NamedTuple):
    """How pictures of one size become inputs."""

    window: tuple[slice, slice]  # rows and columns that are uploaded
    halvings: int  # of the window, beforehand
    doubled: bool  # whether twice as many samples are taken and averaged
    grid: torch.Tensor  # where in the window samples lie, -1 .. 1, [1, height, width, 2]


class DevicePreparation:
    """Prepares one picture at a time.

    Args:
        preprocessing: what is to be done.
        device: where; on CUDA the upload goes through pinned memory, which is kept between pictures.
    """

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        self.preprocessing = preprocessing
        self._device = device
        self._staging = torch.empty(0, dtype=torch.uint8)
        self._scale = torch.tensor([1 / (255 * s) for s in preprocessing.std], device=device).view(1, 3, 1, 1)
        mean_over_std = [m / s for m, s in zip(preprocessing.mean, preprocessing.std, strict=True)]
        self._offset = torch.tensor(mean_over_std, device=device).view(1, 3, 1, 1)
        # A camera's pictures keep their size: where to sample is computed, and uploaded, once for each.
        self._samplings: dict[tuple[int, ...], _Sampling] = {}

    @torch.inference_mode()
    def __call__(self, rgb: NDArray[np.uint8]) -> torch.Tensor:
        """uint8 [H, W, 3], any strides -> float32 [1, 3, size] on the device; enqueued, not waited for."""
        sampling = self._sampling(*rgb.shape[:2])
        window = self._upload(rgb[sampling.window])
        for _ in range(sampling.halvings):
            window = functional.avg_pool2d(window, 2)
        small = functional.grid_sample(window, sampling.grid, padding_mode='border', align_corners=False)
        if sampling.doubled:
            small = functional.avg_pool2d(small, 2)
        return torch.addcmul(-self._offset, small, self._scale)

    def _sampling(self, height: int, width: int) -> _Sampling:
        found = self._samplings.get((height, width))
        if found is None:
            if len(self._samplings) >= KEPT:
                self._samplings.clear()
            found = self._samplings[height, width] = self._sampling_of(height, width)
        return found

    def _sampling_of(self, picture_height: int, picture_width: int) -> _Sampling:
        y, x, h, w = self.preprocessing.crop_box(picture_height, picture_width)
        height, width = self.preprocessing.size
        factor = min(h / height, w / width)
        halvings = max(0, ceil(log2(factor / HALVE_BEYOND)))
        # What is uploaded, with a margin of one pixel as it will be after halving.
        margin = 2**halvings
        top, left = max(0, floor(y) - margin), max(0, floor(x) - margin)
        bottom, right = min(picture_height, ceil(y + h) + margin), min(picture_width, ceil(x + w) + margin)
        doubled = factor > PLAIN_SHRINK
        height, width = height << doubled, width << doubled
        columns = self._positions(width, (x - left) / margin, w / margin, (right - left) >> halvings)
        rows = self._positions(height, (y - top) / margin, h / margin, (bottom - top) >> halvings)
        grid = torch.stack((columns.expand(height, width), rows[:, None].expand(height, width)), dim=-1)
        return _Sampling((slice(top, bottom), slice(left, right)), halvings, doubled, grid.unsqueeze(0))

    def _positions(self, count: int, start: float, length: float, side: int) -> torch.Tensor:
        """Where `count` samples over `length` pixels from `start` lie, -1 .. 1 over a side of that many."""
        centres = start + (torch.arange(count, device=self._device) + 0.5) * (length / count)
        return 2 * centres / side - 1

    def _upload(self, part: NDArray[np.uint8]) -> torch.Tensor:
        """The part as float32 [1, 3, h, w] on the device, values 0..255."""
        if part.size > self._staging.numel():
            self._staging = torch.empty(part.size, dtype=torch.uint8)
            if self._device.type == 'cuda':
                self._staging = self._staging.pin_memory()
        staged = self._staging[: part.size].view(part.shape)
        np.copyto(staged.numpy(), part)
        uploaded = staged.to(self._device, non_blocking=True)
        return uploaded.permute(2, 0, 1).unsqueeze(0).float()
