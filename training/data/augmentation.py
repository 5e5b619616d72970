"""Random views of pictures for training: geometry per picture with OpenCV, colours and mixing per batch.

Sources: Zhong et al., "Random Erasing", AAAI 2020; Zhang et al., "mixup", ICLR 2018 (blending); Yun et al.,
"CutMix", ICCV 2019 (cutting and pasting).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch

__all__ = ['Augmentation']


@dataclass(frozen=True)
class Augmentation:
    """Random views of a picture. The defaults are for a few thousand photographs and a hundred epochs."""

    area: tuple[float, float] = (0.35, 1.0)  # share of the picture that a crop covers
    aspect: float = 4 / 3  # crops are up to this much wider or taller
    rotation: float = 12.0  # degrees either way
    colour: float = 0.3  # brightness, contrast and saturation change by up to this share
    erase: float = 0.15  # probability that a rectangle is blanked
    mix: float = 0.4  # probability that a batch is mixed (half of those blended, half cut and pasted)

    def view(self, picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """One random crop, turned and maybe mirrored, [size, size, 3] uint8."""
        height, width = picture.shape[:2]
        share = rng.uniform(*self.area) * height * width
        ratio = math.exp(rng.uniform(-1, 1) * math.log(self.aspect))
        crop_w, crop_h = min(width, math.sqrt(share * ratio)), min(height, math.sqrt(share / ratio))
        x, y = rng.uniform(0, width - crop_w), rng.uniform(0, height - crop_h)
        angle = math.radians(rng.uniform(-self.rotation, self.rotation))
        across, down = crop_w / size, crop_h / size
        if rng.random() < 0.5:
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

    def colours(self, x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Change brightness, contrast and saturation of x [N, 3, H, W] in 0..1 and blank rectangles."""
        factors = 1 + self.colour * torch.from_numpy(rng.uniform(-1, 1, (3, len(x), 1, 1, 1))).float()
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * factors[0]
        middle = x.mean((1, 2, 3), keepdim=True)
        x = (middle + (x - middle) * factors[1]) * factors[2]
        for index in np.flatnonzero(rng.random(len(x)) < self.erase):
            top, bottom, left, right = _rectangle(x.shape[2], x.shape[3], rng.uniform(0.05, 0.25), rng)
            x[index, :, top:bottom, left:right] = torch.from_numpy(rng.random((3, 1, 1))).float()
        return x.clamp_(0, 1)

    def mixed(
        self, x: torch.Tensor, target: torch.Tensor, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Blend the batch with itself reversed, or paste a rectangle of it; targets follow the areas."""
        if rng.random() >= self.mix:
            return x, target
        share = float(rng.beta(1, 1)) if rng.random() < 0.5 else float(rng.beta(0.4, 0.4))
        other = x.flip(0)
        if rng.random() < 0.5:
            top, bottom, left, right = _rectangle(x.shape[2], x.shape[3], 1 - share, rng)
            share = 1 - (bottom - top) * (right - left) / (x.shape[2] * x.shape[3])
            x = x.clone()
            x[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
        else:
            x = share * x + (1 - share) * other
        return x, share * target + (1 - share) * target.flip(0)


def _rectangle(height: int, width: int, share: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of a rectangle at a random place that covers about `share` of the area."""
    side = math.sqrt(share)
    tall, wide = round(height * side), round(width * side)
    top, left = int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - wide + 1))
    return top, top + tall, left, left + wide
