"""`ros2 param dump`, then `ros2 param load` or a parameter file: what was set comes back, nothing else."""

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient

from impatient_ros.ros.perception_node import PerceptionNode

pytestmark = pytest.mark.ros

GIVEN = {
    'autostart': False,
    'camera_names': ['front', 'rear'],
    'budget.fixed': 0.2,
    'cameras.front.budget.fixed': 0.05,
    'cameras.front.budget.source': 'topic',
    'cameras.rear.roi': [1, 2, 3, 4],
}


# Which rclpy lets nobody write, not even their own value.
READ_ONLY = {'autostart', 'start_type_description_service'}


@pytest.fixture
def context():
    context = Context()
    rclpy.init(context=context)
    yield context
    rclpy.shutdown(context=context)


class Client:
    """A node, and the other side of its parameter services."""

    def __init__(self, context, *, given=None, file=None):
        self.node = PerceptionNode(
            context=context,
            parameter_overrides=[Parameter(name, value=value) for name, value in (given or {}).items()],
            cli_args=['--ros-args', '--params-file', str(file)] if file else [],
            enable_rosout=False,
        )
        self._asking = Node('client', context=context, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=context)
        for each in (self.node, self._asking):
            self._executor.add_node(each)
        self._parameters = AsyncParameterClient(self._asking, 'perception')
        assert self._parameters.wait_for_services(timeout_sec=30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._executor.shutdown()
        for each in (self._asking, self.node):
            each.destroy_node()

    @property
    def current(self):
        return self.node.parameters.current

    def _answer(self, future):
        self._executor.spin_until_future_complete(future, timeout_sec=30)
        return future.result()

    def dump(self, path):
        """As `ros2 param dump` does: list, get, and write what comes, None as null."""
        names = sorted(self._answer(self._parameters.list_parameters([], 0)).result.names)
        values = self._answer(self._parameters.get_parameters(names)).values
        found = {
            name: Parameter.from_parameter_msg(rclpy.parameter.ParameterMsg(name=name, value=value)).value
            for name, value in zip(names, values, strict=True)
        }
        found = {
            name: value if value is None or isinstance(value, (bool, int, float, str)) else list(value)
            for name, value in found.items()
        }
        path.write_text(yaml.safe_dump({'/perception': {'ros__parameters': found}}))
        return found

    def load(self, path):
        """As `ros2 param load` does; the reasons of refusals by name."""
        given = rclpy.parameter.parameter_dict_from_yaml_file(str(path), True, ['/perception'])
        results = self._answer(self._parameters.set_parameters(list(given.values()))).results
        return {
            name: result.reason for name, result in zip(given, results, strict=True) if not result.successful
        }


def test_a_dump_is_a_parameter_file_and_can_be_loaded(context, tmp_path):
    with Client(context, given=GIVEN) as client:
        found = client.dump(tmp_path / 'dumped.yaml')
        before = client.current
        assert None not in found.values()
        assert found['cameras.front.budget.fixed'] == 0.05
        assert 'cameras.rear.budget.fixed' not in found
        refused = client.load(tmp_path / 'dumped.yaml')
        assert set(refused) <= READ_ONLY
        assert client.current == before
    with Client(context, file=tmp_path / 'dumped.yaml') as client:
        assert client.current == before
        assert client.dump(tmp_path / 'again.yaml') == found


OLD = """
/perception:
  ros__parameters:
    autostart: false
    camera_names: [front]
    cameras.front.budget.fixed: null
    cameras.front.budget.source: null
    cameras.front.budget.miss_rate: 0.05
    cameras.front.roi: []
"""


def test_a_dump_with_null_leaves_those_values_unset(context, tmp_path):
    (tmp_path / 'old.yaml').write_text(OLD)
    with Client(context, file=tmp_path / 'old.yaml') as client:
        before = client.current
        assert before.camera('front').budget.fixed == before.budget.fixed
        assert before.camera('front').budget.miss_rate == 0.05
        assert set(client.load(tmp_path / 'old.yaml')) <= READ_ONLY
        assert client.current == before


def test_parameters_that_are_not_set_can_be_set_by_name(context):
    with Client(context, given=GIVEN) as client:
        name = 'cameras.rear.budget.fixed'
        assert name not in client.node.list_parameters([], 0).names
        assert client.node.set_parameters([Parameter(name, value=0.5)])[0].successful
        assert name in client.node.list_parameters([], 0).names
        assert client.current.camera('rear').budget.fixed == 0.5
        client.node.set_parameters([Parameter('camera_names', value=['front'])])
        assert not client.node.has_parameter(name)
        assert not client.node.has_parameter('cameras.rear.budget.source')
