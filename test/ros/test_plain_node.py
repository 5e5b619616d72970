"""The plain network in the node's place: every frame goes one path, and the engine is told as usual."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from impatient_ros.anytime import FrameRequest, FrameSettings
from impatient_ros.ros.demo.plain_node import PlainClassifier

pytestmark = pytest.mark.ros


class Classifier:
    labels = ('lemon', 'orange')

    def __init__(self):
        self.asked = []

    def classify(self, image, *, path, settings):
        self.asked.append((image, path, settings))
        return f'the answer of {path}'


class Observer:
    def __init__(self):
        self.told = []

    def planned(self, path, protected, slowdown):
        self.told.append(('planned', path, protected, slowdown))

    def answered(self, answer):
        self.told.append(('answered', answer))

    def completed(self, answer):
        self.told.append(('completed', answer))


def test_whatever_the_deadline_the_frame_goes_that_path_and_the_observer_is_told():
    classifier, observer = Classifier(), Observer()
    image, settings = np.zeros((2, 2, 3), np.uint8), FrameSettings()
    request = FrameRequest(image, lambda: -1.0, settings=settings)
    answer = PlainClassifier(classifier, '160 px').run(request, observer)
    assert answer == 'the answer of 160 px'
    assert classifier.asked == [(image, '160 px', settings)]
    assert observer.told == [
        ('planned', '160 px', None, 1.0),
        ('answered', answer),
        ('completed', answer),
    ]
    assert PlainClassifier(classifier, '160 px').run(request) == answer  # nobody need observe


def test_everything_else_is_the_classifiers_own():
    assert PlainClassifier(Classifier(), '160 px').labels == ('lemon', 'orange')
