"""Pictures to look at: those that the first exit is sure of, and those that only deep exits get right."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import torch

from impatient_ros.checkpoint import Checkpoint
from training.data.labelled_pictures import Pictures
from training.scoring.exit_scores import Evaluation

__all__ = ['examples', 'thumbnail']

SURE = 0.9  # the confidence at which the first exit counts as sure
SIDE = 96  # px: the size at which the report shows them


def examples(
    scores: Evaluation, checkpoint: Checkpoint, pictures: Pictures, count: int
) -> dict[str, list[dict[str, Any]]]:
    """Up to `count` pictures of each kind, evenly from the classes, with the answers of all exits.

    early: the first exit is right with a probability of at least 0.9, and so are all others. late: the last
    exit is right and the first half of the exits are wrong; those that most exits get wrong come first.
    Ready for JSON; the picture is a JPEG in base64.
    """
    probabilities = scores.probabilities(checkpoint.temperatures)
    confidence, said = probabilities.max(2)
    right = scores.right
    early = right.all(0) & (confidence[0] >= SURE)
    late = right[-1] & ~right[: len(right) // 2].any(0) if len(right) > 1 else torch.zeros_like(right[0])
    wrong = (~right).sum(0) + confidence[-1]
    found = {}
    for kind, members, order in (('early', early, confidence[0]), ('late', late, wrong)):
        chosen = _spread(members, order, scores.target, count)
        found[kind] = [
            {
                'name': pictures.names[i],
                'label': pictures.labels[int(scores.target[i])],
                'exits': [
                    {'label': pictures.labels[int(said[t, i])], 'confidence': float(confidence[t, i])}
                    for t in range(len(right))
                ],
                'jpeg': thumbnail(pictures.images[i]),
            }
            for i in chosen
        ]
    return found


def _spread(members: torch.Tensor, order: torch.Tensor, target: torch.Tensor, count: int) -> list[int]:
    """The surest of every class first, then the second of every class, and so on."""
    queues = []
    for label in target.unique().tolist():
        own = torch.nonzero(members & (target == label))[:, 0]
        queues.append(own[order[own].argsort(descending=True)].tolist())
    ranked = [queue[rank] for rank in range(count) for queue in queues if rank < len(queue)]
    return ranked[:count]


def thumbnail(picture: np.ndarray) -> str:
    """The picture as a JPEG of at most `SIDE` px, in base64."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return base64.b64encode(data.tobytes()).decode('ascii')
