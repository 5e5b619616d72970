"""The CPU path of the node in a Python that has no torch."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLASSIFY = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'torchvision', 'timm'):
            raise ModuleNotFoundError('blocked: ' + name, name=name)

sys.meta_path.insert(0, Blocked())
import cv2
from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.runtime import RuntimeUnavailableError

classifier = AnytimeClassifier.from_checkpoint('models/clothing10.safetensors', 'cpu', 'openvino')
picture = cv2.cvtColor(cv2.imread('config/demo/clothing/02-dress.jpg'), cv2.COLOR_BGR2RGB)
answer = classifier.classify(picture)
print(classifier.runtime.name, answer.label, answer.exit_index)
try:
    AnytimeClassifier.from_checkpoint('models/clothing10.safetensors', runtime='eager')
except RuntimeUnavailableError as error:
    print(error)
print('torch' in sys.modules)
"""


def test_a_checkpoint_is_loaded_and_classifies_without_torch():
    command = [sys.executable, '-c', CLASSIFY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    answered, refused, imported = done.stdout.splitlines()
    assert answered == 'openvino dress 3'  # the most accurate exit, the fourth
    assert 'torch' in refused
    assert imported == 'False'
