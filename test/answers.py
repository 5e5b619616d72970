"""Answers and paths of a classifier, for tests of what is done with them."""

import numpy as np

from impatient_ros.answer import Answer
from impatient_ros.checkpoint import Path


def answer(exit_index, planned=2, confidence=0.6, **options):
    values = {
        'label': 'cat',
        'class_index': 0,
        'confidence': confidence,
        'probabilities': np.array([confidence, 1 - confidence]),
        'exit_index': exit_index,
        'resolution': None if exit_index is None else 224,
        'planned_resolution': None if planned is None else 224,
        'planned_exit_index': planned,
        'elapsed': 0.01,
        'slack': 0.01,
        'met': True,
    }
    return Answer(**{**values, **options})


def path(exit_index, resolution=224):
    return Path(resolution, exit_index, macs=0, accuracy=0.5, temperature=1.0)


NOTHING = answer(None, None, 0.0, label=None, met=False)
