"""One frame against one deadline: `AnytimeClassifier`."""

from impatient_ros.answer import Answer
from impatient_ros.anytime.cancellation import Cancellation
from impatient_ros.anytime.classifier import AnytimeClassifier
from impatient_ros.anytime.request import FrameObserver, FrameRequest, FrameSettings

__all__ = ['Answer', 'AnytimeClassifier', 'Cancellation', 'FrameObserver', 'FrameRequest', 'FrameSettings']
