"""config/sros2: what the policy permits is what the node has, and only the manager may steer."""

import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from impatient_ros.ros.perception_node import PerceptionNode

pytestmark = pytest.mark.ros

POLICY = Path(__file__).parents[2] / 'config' / 'sros2' / 'perception.policy.xml'
STEERING = {
    f'/perception/{name}'
    for name in (
        'set_parameters',
        'set_parameters_atomically',
        'change_state',
        'reprofile',
        'reset_statistics',
    )
}


def permitted():
    """{enclave: {(kind, verb): names}}, names in full."""
    found = {}
    for enclave in ElementTree.parse(POLICY).getroot().iterfind('enclaves/enclave'):
        (profile,) = enclave.iterfind('profiles/profile')
        own = f'{profile.get("ns")}{profile.get("node")}'
        assert enclave.get('path') == own
        rules = found.setdefault(enclave.get('path'), {})
        for rule in profile:
            ((verb, qualifier),) = rule.attrib.items()
            assert qualifier == 'ALLOW'
            names = [item.text.replace('~', own) for item in rule]
            assert len(set(names)) == len(names)
            rules.setdefault((rule.tag, verb), set()).update(names)
    return found


@pytest.fixture(scope='module')
def graph():
    """What a node with every input and output really has, by kind and verb."""
    context = Context()
    rclpy.init(context=context)
    names = {('topics', 'publish'): set(), ('topics', 'subscribe'): set(), ('services', 'reply'): set()}
    try:
        for transport, topic in (
            ('raw', '/camera/image_raw'),
            ('compressed', '/camera/image_raw/compressed'),
        ):
            given = {
                'autostart': False,
                'use_sim_time': True,
                'cameras.camera.transport': transport,
                'cameras.camera.topic': topic,
            }
            node = PerceptionNode(
                context=context,
                parameter_overrides=[Parameter(key, value=value) for key, value in given.items()],
            )
            executor = SingleThreadedExecutor(context=context)
            executor.add_node(node)
            try:
                for step in (node.trigger_configure, node.trigger_activate):
                    assert step() == TransitionCallbackReturn.SUCCESS
                own = node.get_fully_qualified_name().split('/')[-1]
                by_node = node.get_publisher_names_and_types_by_node(own, '/')
                names['topics', 'publish'] |= {name for name, _ in by_node}
                by_node = node.get_subscriber_names_and_types_by_node(own, '/')
                names['topics', 'subscribe'] |= {name for name, _ in by_node}
                names['services', 'reply'] |= {
                    name for name, _ in node.get_service_names_and_types_by_node(own, '/')
                }
                node.trigger_deactivate()
                node.trigger_cleanup()
            finally:
                executor.shutdown()
                node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
    return names


def test_the_node_has_what_the_policy_permits_and_nothing_else(graph):
    assert permitted()['/perception'] == graph


def test_sros2_can_read_it():
    """It takes every node inside of <enclaves> for an enclave, comments as well."""
    assert '<!--' not in POLICY.read_text().partition('<policy')[2]


def test_only_the_manager_may_steer():
    rules = permitted()
    asking = {enclave: rule.get(('services', 'request'), set()) for enclave, rule in rules.items()}
    assert {enclave for enclave, names in asking.items() if names} == {'/manager'}
    assert asking['/manager'] == rules['/perception']['services', 'reply']
    assert asking['/manager'] >= STEERING


def test_pictures_and_deadlines_have_one_source_and_answers_one_maker():
    rules = permitted()
    publishers = {enclave: rule['topics', 'publish'] for enclave, rule in rules.items()}
    for one, other in itertools.combinations(publishers, 2):
        assert publishers[one] & publishers[other] == {'/parameter_events', '/rosout'}
    heard = rules['/perception']['topics', 'subscribe'] - {'/clock'}
    assert heard <= publishers['/camera'] | publishers['/controller']
    assert rules['/controller']['topics', 'subscribe'] - {'/clock'} <= publishers['/perception']
