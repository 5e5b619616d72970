"""At which size a JPEG is decoded: as small as the network allows, whole for people who look at it."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from impatient_ros.preprocess import Preprocessing
from impatient_ros.ros.perception import Perception


@pytest.mark.parametrize(('watched', 'height'), [(False, 540), (True, 1080)])
def test_a_large_jpeg_is_decoded_whole_only_where_somebody_looks(watched, height):
    data = cv2.imencode('.jpg', np.zeros((1080, 1920, 3), np.uint8))[1].tobytes()
    classifier = SimpleNamespace(checkpoint=SimpleNamespace(preprocessing=Preprocessing.for_image_size(224)))
    outputs = SimpleNamespace(wants_picture=lambda camera: watched)
    parameters = SimpleNamespace(realtime_priority=0)
    perception = Perception(classifier, lambda: parameters, outputs, lambda: 0)
    camera = SimpleNamespace(name='camera', transport='compressed', roi=())
    rgb = perception._decode(SimpleNamespace(format='jpeg', data=data), camera)
    assert rgb.shape[0] == height
