"""At which size a JPEG is decoded: as small as the network allows, whole for people who look at it."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from impatient_ros.images.errors import ImageError
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.images.serialized import Unreadable
from impatient_ros.perception.worker import Perception


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


def test_a_message_that_cannot_be_read_is_dropped_with_its_reason():
    parameters = SimpleNamespace(realtime_priority=0)
    perception = Perception(None, lambda: parameters, None, lambda: 0)
    camera = SimpleNamespace(name='camera', transport='raw', roi=())
    with pytest.raises(ImageError) as caught:
        perception._decode(Unreadable(ImageError('malformed', 'too short')), camera)
    assert caught.value.reason == 'malformed'
