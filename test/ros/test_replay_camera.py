"""The replay camera as another process: what arrives, when, with which stamps, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from impatient_ros.budgets import Uniform  # noqa: E402
from impatient_ros.ros.deadline_announcer import ANNOUNCED_AHEAD  # noqa: E402
from impatient_ros.ros.environment import transport_environment  # noqa: E402
from impatient_ros.ros.executor_thread import ExecutorThread  # noqa: E402
from impatient_ros.ros.frame_publisher import FramePublisher  # noqa: E402
from impatient_ros.ros.replay_camera import main  # noqa: E402

pytestmark = [
    pytest.mark.ros,
    # rosidl's parser brings lark, which imports a module that Python deprecated
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

ROOT = Path(__file__).parents[2]
DRONE = ROOT.parent / 'shared' / 'data' / 'bags' / 'euroc_v101_cam0'
PATIENCE = 30.0  # s for anything that has to happen


class Eye:
    """Subscribes to a topic in this process and keeps what arrives, with the time of arrival."""

    def __init__(self, node, executor):
        self.node, self.executor, self.arrivals = node, executor, {}
        self.changed = threading.Condition()

    def watch(self, kind, topic, *, reliable=True, depth=100):
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=depth, reliability=reliability)
        self.arrivals[topic] = []

        def arrive(message):
            with self.changed:
                self.arrivals[topic].append((time.time(), message))
                self.changed.notify_all()

        return self.node.create_subscription(kind, topic, arrive, qos)

    def messages(self, topic, count):
        """The first `count` messages; fails if they do not come."""
        with self.changed:
            came = self.changed.wait_for(lambda: len(self.arrivals[topic]) >= count, PATIENCE)
            assert came, f'{len(self.arrivals[topic])} of {count} messages came on {topic}'
            return [message for _, message in self.arrivals[topic]]


@pytest.fixture
def eye():
    rclpy.init()
    node = rclpy.create_node('eye')
    executor = ExecutorThread(node)
    executor.start()
    yield Eye(node, executor.executor)
    executor.stop()
    node.destroy_node()
    rclpy.shutdown()


@pytest.fixture
def camera():
    """Starts replay cameras; those that still run in the end are stopped."""
    running = []

    def start(*arguments):
        environ = {**os.environ, **transport_environment(os.environ)}
        process = subprocess.Popen(
            [sys.executable, '-m', 'impatient_ros.ros.replay_camera', *map(str, arguments)],
            cwd=ROOT,
            # without PYTHONUNBUFFERED, with which lines never stay in a buffer
            env={name: value for name, value in environ.items() if name != 'PYTHONUNBUFFERED'},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def album(tmp_path):
    for index in range(3):
        cv2.imwrite(str(tmp_path / f'{index}.png'), np.full((40 + index, 60, 3), (10, 120, 240), np.uint8))
    return tmp_path


def stamp_ns(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def entries(text, event):
    return [entry for entry in map(json.loads, text.splitlines()) if entry['event'] == event]


def test_it_publishes_as_many_frames_as_asked_stamped_now_at_an_even_rate_and_reports_them(
    eye, camera, album
):
    eye.watch(Image, '/camera/image_raw')
    process = camera(album, '--frames', 40, '--rate', 40, '--frame-id', 'lens', '--event-log')
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    messages = eye.messages('/camera/image_raw', 40)
    assert len(messages) == 40
    assert [(m.encoding, m.height, m.width, m.step) for m in messages[:4]] == [
        ('bgr8', 40, 60, 180),
        ('bgr8', 41, 60, 180),
        ('bgr8', 42, 60, 180),
        ('bgr8', 40, 60, 180),
    ]
    assert bytes(messages[0].data) == bytes([10, 120, 240]) * 2400
    assert {m.header.frame_id for m in messages} == {'lens'}
    for arrival, message in eye.arrivals['/camera/image_raw']:
        assert 0 <= arrival - stamp_ns(message) * 1e-9 < 0.5
    frames = entries(out, 'frame')
    assert [entry['stamp_ns'] for entry in frames] == [stamp_ns(message) for message in messages]
    assert [entry['number'] for entry in frames] == list(range(1, 41))
    assert [entry['name'] for entry in frames[:4]] == ['0.png', '1.png', '2.png', '0.png']
    assert entries(out, 'done') == [{'event': 'done', 'published': 40, 'skipped': 0}]
    assert 'published 40 frames on /camera/image_raw, skipped 0' in err
    stamps = np.array([entry['stamp_ns'] for entry in frames]) * 1e-9
    assert np.median(np.abs(stamps - stamps[0] - np.arange(40) / 40)) < 0.02
    assert stamps[-1] - stamps[0] == pytest.approx(39 / 40, abs=0.1)


def test_each_frames_deadline_is_announced_before_it_as_drawn_by_the_seed(eye, camera, album):
    eye.watch(Header, '/robot/deadline')
    eye.watch(Image, '/camera/image_raw')
    arguments = ('--deadline-topic', '/robot/deadline', '--budgets', '0.02:0.05', '--seed', 3)
    process = camera(album, '--frames', 20, '--rate', 20, '--event-log', *arguments)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    images = eye.messages('/camera/image_raw', 20)
    announced = [
        message.stamp.sec * 10**9 + message.stamp.nanosec for message in eye.messages('/robot/deadline', 20)
    ]
    frames = entries(out, 'frame')
    assert [entry['deadline_ns'] for entry in frames] == announced
    budgets = [1e-9 * (deadline - stamp_ns(image)) for deadline, image in zip(announced, images, strict=True)]
    assert budgets == pytest.approx(Uniform(0.02, 0.05).sample(20, seed=3), abs=1e-8)
    # Stamped when due, published then, announced before: how soon messages are handled here varies.
    ahead = [
        image_came - deadline_came
        for (image_came, _), (deadline_came, _) in zip(
            eye.arrivals['/camera/image_raw'], eye.arrivals['/robot/deadline'], strict=True
        )
    ]
    assert np.median(ahead) == pytest.approx(ANNOUNCED_AHEAD, abs=0.01)


def test_nothing_is_published_before_somebody_subscribes(eye, camera, album):
    process = camera(album, '--frames', 2, '--event-log')
    assert json.loads(process.stdout.readline())['event'] == 'opened'
    assert json.loads(process.stdout.readline())['event'] == 'waiting'
    subscribed = time.time_ns()
    eye.watch(Image, '/camera/image_raw', reliable=False)
    messages = eye.messages('/camera/image_raw', 2)
    assert all(stamp_ns(message) > subscribed for message in messages)
    assert process.wait(PATIENCE) == 0


def test_without_a_subscriber_it_gives_up_and_says_what_to_look_at(camera, album):
    process = camera(album, '--wait', 0.5)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert 'nobody subscribed to /camera/image_raw within 0.5 s: is the node active' in err


def test_compressed_transport_publishes_the_files_as_they_are(eye, camera, album):
    eye.watch(CompressedImage, '/camera/image_raw/compressed')
    camera(album, '--transport', 'compressed', '--frames', 2)
    first, _ = eye.messages('/camera/image_raw/compressed', 2)[:2]
    assert first.format == 'png'
    assert bytes(first.data) == (album / '0.png').read_bytes()


def test_with_clock_the_stamps_stay_and_the_clock_leads_to_each_of_them(eye, camera):
    if not DRONE.exists():
        pytest.skip('the recording of the drone is not on this machine')
    eye.watch(Image, '/eye', depth=20)
    eye.watch(Clock, '/clock')
    process = camera(DRONE, '--clock', '--frames', 10, '--image-topic', '/eye')
    messages = eye.messages('/eye', 10)
    assert process.wait(PATIENCE) == 0
    assert stamp_ns(messages[0]) == 1403715273262142976
    assert stamp_ns(messages[9]) - stamp_ns(messages[0]) == pytest.approx(0.45e9, abs=1e6)
    clock = [tick.clock.sec * 10**9 + tick.clock.nanosec for tick in eye.messages('/clock', 1)]
    assert clock == sorted(clock)
    assert clock[0] < stamp_ns(messages[0])  # a node has a clock before it has a frame
    assert clock[-1] > stamp_ns(messages[9]) + 0.3e9  # and after the last, so that deadlines pass
    gaps = np.diff(clock) * 1e-9
    assert np.median(gaps) < 0.02


def test_a_compressed_bag_stays_compressed_and_becomes_raw_when_asked(eye, camera):
    bag = DRONE.parent / 'aruco_images.bag'
    if not bag.exists():
        pytest.skip('the recording of the markers is not on this machine')
    eye.watch(CompressedImage, '/packed')
    eye.watch(Image, '/unpacked')
    camera(bag, '--image-topic', '/packed')
    camera(bag, '--image-topic', '/unpacked', '--transport', 'raw')
    assert eye.messages('/packed', 1)[0].format == 'jpg'
    (raw,) = eye.messages('/unpacked', 1)
    assert (raw.encoding, raw.width, raw.height, len(raw.data)) == ('bgr8', 1280, 960, 1280 * 960 * 3)
    assert raw.header.frame_id == 'raspicam'


def test_it_ends_when_the_program_that_reads_its_event_log_has_gone(eye, camera, album):
    eye.watch(Image, '/camera/image_raw')
    process = camera(album, '--loop', '--rate', 50, '--event-log')
    eye.messages('/camera/image_raw', 1)
    process.stdout.close()
    assert process.wait(PATIENCE) == 0
    process.stdout = open(os.devnull)  # noqa: SIM115 (for communicate() in the fixture)


def test_sigterm_ends_a_loop_with_the_final_count_and_exit_code_0(eye, camera, album):
    eye.watch(Image, '/camera/image_raw')
    process = camera(album, '--loop', '--rate', 50, '--event-log')
    eye.messages('/camera/image_raw', 5)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert len(entries(out, 'frame')) == entries(out, 'done')[0]['published'] >= 5
    assert 'published' in err


def test_a_subscriber_that_stalls_does_not_hold_up_the_others(eye, camera, album):
    """Reliable subscribers, one of which takes nothing from the third frame on: the camera keeps its pace."""
    stalling = rclpy.create_node('stalling')
    stalling.create_subscription(Image, '/camera/image_raw', lambda _: None, QoSProfile(depth=1))
    eye.executor.add_node(stalling)
    eye.watch(Image, '/camera/image_raw')
    process = camera(album, '--frames', 60, '--rate', 60, '--event-log')
    eye.messages('/camera/image_raw', 3)
    eye.executor.remove_node(stalling)
    out, _ = process.communicate(timeout=PATIENCE)
    stalling.destroy_node()
    stamps = [entry['stamp_ns'] for entry in entries(out, 'frame')]
    assert len(stamps) == len(eye.messages('/camera/image_raw', 60)) == 60
    assert (stamps[-1] - stamps[0]) * 1e-9 < 2.0


def test_it_waits_until_a_subscriber_that_it_knows_knows_it_too(eye):
    """A subscriber whose node answers nothing yet stands in for one that has not learned of the camera."""
    slow = rclpy.create_node('slow')
    slow.create_subscription(Image, '/slow', lambda _: None, QoSProfile(depth=1))
    publisher = FramePublisher(eye.node, '/slow', 'raw')
    waiting = threading.Thread(target=publisher.wait_for_subscriber, args=(PATIENCE,))
    waiting.start()
    while not eye.node.count_subscribers('/slow'):
        time.sleep(0.01)
    waiting.join(0.5)
    assert waiting.is_alive()
    eye.executor.add_node(slow)
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    eye.executor.remove_node(slow)
    slow.destroy_node()


def test_a_subscriber_whose_node_cannot_be_asked_is_not_waited_for_long(eye, caplog):
    silent = rclpy.create_node('silent', start_parameter_services=False)
    silent.create_subscription(Image, '/silent', lambda _: None, QoSProfile(depth=1))
    publisher = FramePublisher(eye.node, '/silent', 'raw')
    assert publisher.wait_for_subscriber(PATIENCE)
    assert 'a subscriber may not know of /silent yet' in caplog.text
    silent.destroy_node()


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['.', '--budgets', '0.2:0.1'], 'Uniform needs 0 <= low < high'),
        (['.', '--budgets', '0'], '0 is not above 0'),
        (['.', '--clock', '--deadline-topic', '/d'], 'leave --clock out'),
        (['gone.mcap'], 'gone.mcap does not exist: write SOURCE='),
        (['.', '--rate', '0'], '0 is not above 0'),
        (['.', '--rate', 'nan'], 'nan is not above 0'),
        (['.', '--frames', '0'], '0 is not 1 or more'),
        (['77'], 'there is no webcam 77'),
    ],
)
def test_wrong_arguments_end_it_with_a_line_that_says_why(capsys, caplog, arguments, says):
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code in (1, 2)
    assert says in capsys.readouterr().err + caplog.text
