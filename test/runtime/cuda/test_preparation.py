import cv2
import numpy as np
import pytest
import torch

from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.resources import resource_path
from impatient_ros.runtime.cuda.preparation import DevicePreparation


def photograph(height, width):
    picture = cv2.imread(str(resource_path('config', 'demo/clothing/01-hat.jpg')))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)[:, :, ::-1]


@pytest.mark.parametrize('size', [(480, 640), (1080, 1920), (720, 405), (130, 130), (97, 150), (2160, 3840)])
def test_pictures_come_out_as_from_the_one_definition(size):
    preprocessing = Preprocessing.for_image_size(128)
    prepare = DevicePreparation(preprocessing, torch.device('cpu'))
    picture = photograph(*size)
    difference = np.abs(prepare(picture).numpy() - preprocessing(picture)) * 255 * min(preprocessing.std)
    assert difference.max() < 3.0, 'grey levels'
    assert difference.mean() < 0.8


def test_the_staging_memory_is_kept_and_grows():
    prepare = DevicePreparation(Preprocessing.for_image_size(32), torch.device('cpu'))
    small, large = photograph(60, 80), photograph(120, 160)
    first = prepare(small).clone()
    prepare(large)
    memory = prepare._staging.data_ptr()
    assert torch.equal(prepare(small), first)
    assert prepare._staging.data_ptr() == memory
