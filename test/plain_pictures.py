"""Files of pictures of one colour."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ['jpeg']


def jpeg(colour: tuple[int, int, int], shape: tuple[int, int] = (24, 32)) -> bytes:
    """A plain picture of one RGB colour."""
    picture = np.full((*shape, 3), colour[::-1], np.uint8)
    return bytes(cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
