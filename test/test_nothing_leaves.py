"""Nothing leaves the machine: no dependency sends telemetry, looks for updates or downloads anything."""

from pathlib import Path

import pytest
from network_namespace import observe

ROOT = Path(__file__).parents[1]
MODEL = ROOT / 'models' / 'imagenet.safetensors'

CLASSIFY = """
import sys
import numpy as np
from impatient_ros.anytime import AnytimeClassifier
classifier = AnytimeClassifier.from_checkpoint(sys.argv[1], device='cpu', runtime=sys.argv[2])
for _ in range(20):
    assert classifier.classify(np.zeros((120, 160, 3), np.uint8)).label
"""


@pytest.mark.parametrize('runtime', ['openvino', 'onnxruntime'])
def test_of_a_runtime_and_the_home_has_only_our_cache(tmp_path, runtime):
    pytest.importorskip(runtime)
    seen = observe(CLASSIFY, str(MODEL), runtime, home=tmp_path / 'home')
    assert (seen.asked, seen.attempts) == ([], 0)
    assert seen.kept
    assert all(folder.startswith('.cache/impatient_ros') for folder in seen.kept)


DEMO = """
import sys
import impatient_ros.ros.demo.command, impatient_ros.ros.demo.screen, impatient_ros.ros.demo.report
import impatient_ros.ros.perception_node, impatient_ros.ros.replay_camera
import impatient_ros.runtime.openvino.runtime, impatient_ros.runtime.onnx_runtime
import cv2, onnx, rich, rosbags.typesys
from impatient_ros.replay import open_source
from impatient_ros.runtime.packages import import_package
import_package('openvino', 'this', 'nothing').Core()
assert list(open_source(sys.argv[1]).frames())
"""


def test_of_the_demos_imports(tmp_path):
    pytest.importorskip('rclpy')
    seen = observe(DEMO, str(ROOT / 'config' / 'demo' / 'clothing'), home=tmp_path / 'home')
    assert (seen.asked, seen.attempts, seen.kept) == ([], 0, frozenset())


TRAIN = """
import sys, tensorboardX
from impatient_ros.network import ImpatientNetwork
from training import smoke
ImpatientNetwork.from_torchvision('squeezenet1_1', exits=3, classes=4, image_size=64)
ImpatientNetwork.from_timm('resnet10t', exits=3, classes=4, image_size=64)
sys.exit(smoke.main(sys.argv[1:]))
"""


def test_of_networks_by_name_training_evaluating_and_reporting(tmp_path):
    pytest.importorskip('timm')
    seen = observe(TRAIN, str(tmp_path / 'run'), home=tmp_path / 'home')
    assert (tmp_path / 'run' / 'model.safetensors').is_file()
    assert (seen.asked, seen.attempts) == ([], 0)
    assert seen.kept <= {'.cache/matplotlib'}  # which fonts there are


def test_what_is_left_to_itself_is_seen(tmp_path):
    """OpenVINO reports its import to its makers, unless it is imported as the runtime does it."""
    pytest.importorskip('openvino_telemetry')
    seen = observe('import openvino', home=tmp_path / 'home')
    assert any('google-analytics' in name for name in seen.asked)
