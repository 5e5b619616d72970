"""Answers of a classifier, for tests of what is done with them."""

import numpy as np

from impatient_ros.answer import Answer


def answer(exit_index, planned=2, confidence=0.6, **options):
    values = {
        'label': 'cat',
        'class_index': 0,
        'confidence': confidence,
        'probabilities': np.array([confidence, 1 - confidence]),
        'exit_index': exit_index,
        'planned_exit_index': planned,
        'elapsed': 0.01,
        'slack': 0.01,
        'met': True,
    }
    return Answer(**{**values, **options})


NOTHING = answer(None, None, 0.0, label=None, met=False)
