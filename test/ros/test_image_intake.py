"""The thread that takes images, on a node of this process: whatever fails, the next image is taken."""

import threading
import time

import pytest

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

from rclpy.context import Context  # noqa: E402
from rclpy.node import Node  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from impatient_ros.images.serialized import Unreadable  # noqa: E402
from impatient_ros.perception.faults import ENDURED, Faults  # noqa: E402
from impatient_ros.ros import image_intake  # noqa: E402
from impatient_ros.ros.image_intake import ImageIntake  # noqa: E402

pytestmark = [pytest.mark.ros, pytest.mark.timeout(120)]
PATIENCE = 60


class Scene:
    def __init__(self, node):
        self.received, self.failing = [], threading.Event()
        self.given_up = threading.Event()
        self.faults = Faults(self.given_up.set)
        self.publisher = node.create_publisher(Image, '/front', 10)
        self.intake = ImageIntake(node, self.receive, self.faults)
        self.intake.subscribe('front', 'raw', '/front')
        self.intake.start()

    def receive(self, camera, message, sequence, publishers):
        if self.failing.is_set():
            raise RuntimeError('injected')
        self.received.append(message)

    def publish_until(self, what):
        until = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < until
            self.publisher.publish(Image())
            time.sleep(0.005)


@pytest.fixture
def scene():
    context = Context()
    rclpy.init(context=context)
    node = Node('camera', context=context)
    scene = Scene(node)
    yield scene
    scene.intake.stop()
    node.destroy_node()
    context.try_shutdown()


def test_an_error_of_who_receives_is_survived(scene):
    scene.publish_until(lambda: scene.received)
    scene.failing.set()
    scene.publish_until(lambda: scene.faults.counts().errors)
    scene.failing.clear()
    count = len(scene.received)
    scene.publish_until(lambda: len(scene.received) > count)
    assert set(scene.faults.counts().errors) == {'intake'}
    assert not scene.given_up.is_set()


def test_a_message_that_the_reader_fails_on_is_handed_on_as_unreadable(scene, monkeypatch):
    monkeypatch.setitem(image_intake.READERS, Image, lambda serialised: 1 / 0)
    scene.publish_until(lambda: scene.received)
    assert isinstance(scene.received[0], Unreadable)
    assert scene.received[0].error.reason == 'internal_error'
    assert scene.faults.counts().errors['intake'] >= 1


def test_a_thread_that_can_take_nothing_any_more_is_given_up(scene, monkeypatch):
    monkeypatch.setattr(ImageIntake, '_take', lambda *_: 1 / 0)
    scene.publish_until(scene.given_up.is_set)
    assert scene.faults.counts().errors == {'intake': ENDURED}
