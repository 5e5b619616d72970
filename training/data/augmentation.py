"""Random views of pictures for training: geometry in the workers, colours and mixing on the device.

Sources: Zhong et al., "Random Erasing", AAAI 2020; Zhang et al., "mixup", ICLR 2018 (blending); Yun et al.,
"CutMix", ICCV 2019 (cutting and pasting).

All random numbers are drawn in the workers, from the generator of the batch, and travel with it: the device
draws nothing and waits for nothing.

torchvision.transforms.v2 was tried instead. Its geometry resamples several times where one affine map does
(500 views/s to 10,000 at 32 px, 120 to 900 at 224 px, one busy core); its colours and rectangles are alike
for a whole batch, or made picture by picture; its mixing is no faster, with torch's global generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch

__all__ = ['Augmentation', 'Mixing', 'mixed']


class Mixing(NamedTuple):
    """How a batch is mixed with itself reversed: `share` of each picture stays; a rectangle (top, bottom,
    left, right, px) is pasted, or without one the pictures are blended.
    """

    share: float
    rectangle: Sequence[int] | None


@dataclass(frozen=True)
class Augmentation:
    """Random views of a picture. The defaults are for a few thousand photographs and a hundred epochs."""

    area: tuple[float, float] = (0.35, 1.0)  # share of the picture that a crop covers
    aspect: float = 4 / 3  # crops are up to this much wider or taller
    rotation: float = 12.0  # degrees either way
    pad: int = 0  # px by which a crop is moved either way, beyond the border, too; 4 is usual for CIFAR
    mirror: float = 0.5  # probability that left and right change; 0 for arrows, digits and signs
    colour: float = 0.3  # brightness, contrast and saturation change by up to this share
    erase: float = 0.15  # probability that a rectangle is blanked
    mix: float = 0.4  # probability that a batch is mixed (half of those blended, half cut and pasted)

    def view(self, picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """One random crop, turned and maybe mirrored, [size, size, 3] uint8; beyond the border the picture is
        reflected.
        """
        height, width = picture.shape[:2]
        share = rng.uniform(*self.area) * height * width
        ratio = math.exp(rng.uniform(-1, 1) * math.log(self.aspect))
        crop_w, crop_h = min(width, math.sqrt(share * ratio)), min(height, math.sqrt(share / ratio))
        x, y = rng.uniform(0, width - crop_w), rng.uniform(0, height - crop_h)
        angle = math.radians(rng.uniform(-self.rotation, self.rotation))
        across, down = crop_w / size, crop_h / size
        if self.pad:
            right, below = rng.integers(-self.pad, self.pad, 2, endpoint=True)
            x, y = x + right * across, y + below * down
        if rng.random() < self.mirror:
            across = -across
        # One affine map from the view's pixels to the picture's: turn about the crop's centre, scale, mirror.
        cos, sin = math.cos(angle), math.sin(angle)
        linear = np.array([[cos * across, -sin * down], [sin * across, cos * down]])
        centre = np.array([x + crop_w / 2 - 0.5, y + crop_h / 2 - 0.5])
        offset = centre - linear @ np.array([(size - 1) / 2, (size - 1) / 2])
        matrix = np.column_stack([linear, offset])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        view = cv2.warpAffine(picture, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(view)

    def colour_changes(self, count: int, size: int, rng: np.random.Generator) -> torch.Tensor | None:
        """Random numbers for `colours`, [count, 10]: three factors, a rectangle (top, bottom, left, right)
        and its colour; None where nothing changes.
        """
        if not (self.colour or self.erase):
            return None
        factors = 1 + self.colour * rng.uniform(-1, 1, (count, 3))
        side = np.round(size * np.sqrt(rng.uniform(0.05, 0.25, count))) * (rng.random(count) < self.erase)
        corner = np.floor(rng.random((count, 2)) * (size - side + 1)[:, None])
        box = np.stack([corner[:, 0], corner[:, 0] + side, corner[:, 1], corner[:, 1] + side], 1)
        return torch.from_numpy(np.hstack([factors, box, rng.random((count, 3))]).astype(np.float32))

    def colours(self, x: torch.Tensor, changes: torch.Tensor | None) -> torch.Tensor:
        """Change saturation, contrast and brightness of x [N, 3, H, W] in 0..1 and blank rectangles."""
        if changes is None:
            return x
        numbers = changes[:, :, None, None, None]
        if self.colour:
            # grey + (x - grey) * saturation, then contrast about the picture's mean, in one pass.
            saturation, contrast, brightness = numbers[:, :3].unbind(1)
            grey = x.mean(1, keepdim=True)
            middle = grey.mean((2, 3), keepdim=True)
            fixed = brightness * (contrast * (1 - saturation) * grey + (1 - contrast) * middle)
            x = torch.addcmul(fixed, x, saturation * contrast * brightness)
        if self.erase:
            row = torch.arange(x.shape[2], device=x.device)[:, None]
            column = torch.arange(x.shape[3], device=x.device)
            top, bottom, left, right = numbers[:, 3:7].unbind(1)
            inside = (row >= top) & (row < bottom) & (column >= left) & (column < right)
            x = torch.where(inside, changes[:, 7:, None, None], x)
        return x.clamp_(0, 1)

    def mixing(self, size: int, rng: np.random.Generator) -> Mixing | None:
        """How the next batch is mixed; None for not at all."""
        if rng.random() >= self.mix:
            return None
        share = float(rng.beta(1, 1)) if rng.random() < 0.5 else float(rng.beta(0.4, 0.4))
        if rng.random() >= 0.5:
            return Mixing(share, None)
        side = round(size * math.sqrt(1 - share))
        top, left = (int(corner) for corner in rng.integers(0, size - side, 2, endpoint=True))
        return Mixing(1 - side**2 / size**2, (top, top + side, left, left + side))


def mixed(x: torch.Tensor, target: torch.Tensor, mixing: Mixing | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend the batch x [N, 3, H, W] with itself reversed, or paste a rectangle of it; the target
    probabilities [N, classes] follow the areas.
    """
    if mixing is None:
        return x, target
    share, rectangle = mixing
    other = x.flip(0)
    if rectangle is None:
        x = share * x + (1 - share) * other
    else:
        top, bottom, left, right = rectangle
        x = x.clone(memory_format=torch.preserve_format)
        x[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
    return x, share * target + (1 - share) * target.flip(0)
