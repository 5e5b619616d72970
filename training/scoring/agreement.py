"""Pictures that nobody has labelled, as a network's full path names them: what agreement is measured on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from impatient_ros.checkpoint import Checkpoint
from training.data.labelled_pictures import Pictures
from training.data.unlabelled_pictures import kept_side, read_unlabelled
from training.scoring.exit_scores import evaluate

__all__ = ['commonest', 'held_out']


def held_out(source: str | Path, teacher: Checkpoint, *, hold_out: int, limit: int | None) -> Pictures:
    """What training without labels holds out of `source`, with the answers of the teacher's full path.

    `hold_out` and `limit` are what data.hold_out and data.limit were in training: with the same ones, these
    are the pictures that it did not learn from. Raises DataError.
    """
    prepared = teacher.preprocessing
    _, held = read_unlabelled(
        source, teacher.labels, shorter_side=kept_side(prepared), hold_out=hold_out, limit=limit
    )
    answers = evaluate(teacher.network, held, prepared).logits[-1].argmax(1)
    return replace(held, targets=answers.numpy())


def commonest(pictures: Pictures) -> dict[str, Any]:
    """The class that most pictures have, and their share: what always the same answer would be right on."""
    counts = np.bincount(pictures.targets, minlength=len(pictures.labels))
    most = int(counts.argmax())
    return {'label': pictures.labels[most], 'share': float(counts[most] / counts.sum())}
