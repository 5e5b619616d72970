"""training.scoring.examples: which pictures a report shows."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import cv2
import numpy as np
import torch

from training.data.labelled_pictures import Pictures
from training.scoring.examples import examples, thumbnail
from training.scoring.exit_scores import Evaluation


def test_early_ones_are_sure_and_right_at_once_and_late_ones_only_deep_down() -> None:
    sure, wrong = torch.tensor([9.0, 0.0]), torch.tensor([0.0, 2.0])
    first = torch.stack([sure, wrong, sure, torch.tensor([0.2, 0.0])])
    last = torch.stack([sure, sure, wrong, sure])
    pictures = Pictures(
        ('hat', 'shoe'), (np.zeros((200, 100, 3), np.uint8),) * 4, np.zeros(4, np.int64), ('a', 'b', 'c', 'd')
    )
    checkpoint = SimpleNamespace(temperatures=(1.0, 1.0))
    found = examples(Evaluation((first, last), torch.zeros(4, dtype=torch.long)), checkpoint, pictures, 5)  # type: ignore[arg-type]
    assert [each['name'] for each in found['early']] == ['a']
    assert [each['name'] for each in found['late']] == ['b']
    assert [each['label'] for each in found['late'][0]['exits']] == ['shoe', 'hat']


def test_a_thumbnail_is_a_small_jpeg() -> None:
    data = np.frombuffer(base64.b64decode(thumbnail(np.full((200, 100, 3), 9, np.uint8))), np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (96, 48, 3)
