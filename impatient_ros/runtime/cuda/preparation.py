"""`Preprocessing` on a torch device: the picture's bytes are uploaded, everything else is computed there.

Equal to `images.preprocessing.Preprocessing` up to the rounding of intermediate pictures to whole
numbers, which is done there and not here: below three grey levels, half of one on average.
"""

from __future__ import annotations

from math import ceil, floor, log2

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.images.resample import HALVE_BEYOND, PLAIN_SHRINK

__all__ = ['DevicePreparation']


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

    @torch.inference_mode()
    def __call__(self, rgb: NDArray[np.uint8]) -> torch.Tensor:
        """uint8 [H, W, 3], any strides -> float32 [1, 3, size] on the device; enqueued, not waited for."""
        y, x, h, w = self.preprocessing.crop_box(*rgb.shape[:2])
        height, width = self.preprocessing.size
        factor = min(h / height, w / width)
        halvings = max(0, ceil(log2(factor / HALVE_BEYOND)))
        # What is uploaded, with a margin of one pixel as it will be after halving.
        margin = 2**halvings
        top, left = max(0, floor(y) - margin), max(0, floor(x) - margin)
        window = self._upload(rgb[top : ceil(y + h) + margin, left : ceil(x + w) + margin])
        for _ in range(halvings):
            window = functional.avg_pool2d(window, 2)
        doubled = factor > PLAIN_SHRINK
        height, width = height << doubled, width << doubled
        columns = self._positions(width, (x - left) / margin, w / margin, window.shape[3])
        rows = self._positions(height, (y - top) / margin, h / margin, window.shape[2])
        grid = torch.stack(
            (columns.expand(height, width), rows[:, None].expand(height, width)), dim=-1
        ).unsqueeze(0)
        small = functional.grid_sample(window, grid, padding_mode='border', align_corners=False)
        if doubled:
            small = functional.avg_pool2d(small, 2)
        return small * self._scale - self._offset

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
