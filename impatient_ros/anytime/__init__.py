"""One frame against one deadline: `AnytimeClassifier`."""

from impatient_ros.answer import Answer
from impatient_ros.anytime.classifier import AnytimeClassifier

__all__ = ['Answer', 'AnytimeClassifier']
