"""vision_msgs, built here or the distribution's: the original's type hashes, one real message."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2 (make env)')
pytestmark = pytest.mark.ros

# Of vision_msgs 4.1.1; two nodes with other hashes would not talk.
HASHES = {
    'Classification': 'RIHS01_f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143',
    'LabelInfo': 'RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783',
    'ObjectHypothesis': 'RIHS01_51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90',
    'VisionClass': 'RIHS01_1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a',
}

LISTENER = """
import json, sys
import rclpy
from vision_msgs.msg import Classification

rclpy.init()
node = rclpy.create_node('listener')
heard = []
node.create_subscription(Classification, 'interfaces_test', heard.append, 10)
print('ready', flush=True)
while not heard:
    rclpy.spin_once(node, timeout_sec=1.0)
message = heard[0]
print(json.dumps({
    'frame_id': message.header.frame_id,
    'stamp': [message.header.stamp.sec, message.header.stamp.nanosec],
    'results': [[result.class_id, result.score] for result in message.results],
}), flush=True)
node.destroy_node()
rclpy.shutdown()
"""


def installed_description(name):
    """The type description that was generated when vision_msgs was built."""
    prefixes = [sys.prefix, *os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)]
    files = [Path(prefix) / 'share' / 'vision_msgs' / 'msg' / f'{name}.json' for prefix in prefixes if prefix]
    return json.loads(next(file for file in files if file.is_file()).read_text())


@pytest.fixture
def node():
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('speaker', context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize('name', sorted(HASHES))
def test_type_hashes_equal_the_originals(name):
    hashes = {item['type_name']: item['hash_string'] for item in installed_description(name)['type_hashes']}
    assert hashes[f'vision_msgs/msg/{name}'] == HASHES[name]


@pytest.mark.parametrize('name', ['Classification', 'LabelInfo'])
def test_the_hash_on_the_wire_is_the_same(node, name):
    import vision_msgs.msg

    node.create_publisher(getattr(vision_msgs.msg, name), f'hash_of_{name}', 1)
    (endpoint,) = node.get_publishers_info_by_topic(f'hash_of_{name}')
    if not hasattr(endpoint, 'topic_type_hash'):
        pytest.skip('this rclpy does not tell type hashes (before Iron)')
    digest = bytes(endpoint.topic_type_hash.value).hex()
    assert f'RIHS{endpoint.topic_type_hash.version:02}_{digest}' == HASHES[name]


def test_a_classification_reaches_another_process(node):
    from vision_msgs.msg import Classification, ObjectHypothesis

    listener = subprocess.Popen([sys.executable, '-c', LISTENER], stdout=subprocess.PIPE, text=True)
    try:
        assert listener.stdout.readline() == 'ready\n'
        publisher = node.create_publisher(Classification, 'interfaces_test', 10)
        message = Classification()
        message.header.frame_id = 'camera'
        message.header.stamp.sec, message.header.stamp.nanosec = 1234567890, 987654321
        message.results = [
            ObjectHypothesis(class_id='t-shirt', score=0.75),
            ObjectHypothesis(class_id='Röckchen', score=0.25),
        ]
        while listener.poll() is None:
            publisher.publish(message)
            try:
                listener.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        heard = json.loads(listener.stdout.readline())
    finally:
        listener.kill()
        listener.communicate()
    assert heard == {
        'frame_id': 'camera',
        'stamp': [1234567890, 987654321],
        'results': [['t-shirt', 0.75], ['Röckchen', 0.25]],
    }
