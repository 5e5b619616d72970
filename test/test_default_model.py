"""The shipped default model: ImageNet's classes at several resolutions, small, and better than chance."""

from itertools import pairwise
from pathlib import Path

import cv2
import pytest

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.checkpoint import read

ROOT = Path(__file__).parents[1]
MODEL = ROOT / 'models' / 'imagenet.safetensors'
PICTURES = ROOT / 'config' / 'demo' / 'pictures'


@pytest.fixture(scope='module')
def checkpoint():
    return read(MODEL)


def test_the_file_is_small_and_says_how_it_was_made(checkpoint):
    assert MODEL.stat().st_size <= 12_000_000
    assert {'command', 'weights', 'accuracy', 'date'} <= set(checkpoint.provenance)
    assert not any(place in str(checkpoint.provenance) for place in ('/root', '/work', '/tmp'))


def test_it_names_a_thousand_classes_each_by_a_name_of_its_own(checkpoint):
    assert len(set(checkpoint.labels)) == len(checkpoint.labels) == 1000
    assert {'banana', 'coffee mug', 'golf ball', 'crane (bird)', 'crane (machine)'} <= set(checkpoint.labels)


def test_every_resolution_costs_more_than_the_one_before_and_is_better(checkpoint):
    assert checkpoint.accuracies_measured
    assert [path.resolution for path in checkpoint.paths] == [80, 96, 112, 128, 144, 160, 192, 224]
    for cheap, dear in pairwise(checkpoint.paths):
        assert cheap.macs < dear.macs
        assert cheap.accuracy < dear.accuracy
    assert checkpoint.paths[0].macs < 0.2 * checkpoint.paths[-1].macs


def test_it_recognises_the_demo_pictures_better_where_it_may_take_longer(checkpoint):
    clf = AnytimeClassifier.from_checkpoint(MODEL, device='cpu', runtime='openvino', cpu_threads=1)
    files = {file: file.stem.partition('-')[2].replace('-', ' ') for file in PICTURES.glob('*.jpg')}
    right = {path.resolution: 0 for path in clf.paths}
    for file, truth in files.items():
        rgb = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        for path in clf.paths:
            right[path.resolution] += clf.classify(rgb, path=path).label.lower() == truth
    assert right[224] >= 0.5 * len(files), 'chance: 0.001'
    assert right[224] > right[80]
