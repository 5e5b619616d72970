"""The node's parameters on a real rclpy node: declaration, overrides, live changes, locks, the YAML."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_dict_from_yaml_file
from rclpy.parameter_client import AsyncParameterClient

from impatient_ros.perception.parameter_definition import ParameterError
from impatient_ros.perception.parameter_values import known_definitions, parse
from impatient_ros.perception.settings import BudgetParameters, PerceptionParameters
from impatient_ros.ros.parameters import NodeParameters, check, hints, read

YAML = Path(__file__).parents[2] / 'config' / 'perception.yaml'

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def context():
    context = Context()
    rclpy.init(context=context)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def make(context):
    """make({'budget.fixed': 1}) -> a node with its NodeParameters as `own`, what these told and warned."""
    nodes = []

    def make(overrides=None, *, state='unconfigured', arguments=(), services=False):
        given = [Parameter(name, value=value) for name, value in (overrides or {}).items()]
        node = Node(
            'perception',
            context=context,
            parameter_overrides=given,
            cli_args=list(arguments),
            start_parameter_services=services,
            enable_rosout=False,
        )
        nodes.append(node)
        node.state, node.told = state, []
        node.warned = []
        node.get_logger = lambda: type('Log', (), {'warning': staticmethod(node.warned.append)})
        node.own = NodeParameters(node, state=lambda: node.state, changed=node.told.append)
        return node

    yield make
    for node in nodes:
        node.destroy_node()


def change(node, **values):
    """Set parameters in one atomic call (budget__fixed=...); returns the reason of the refusal or ''."""
    changes = [
        value if isinstance(value, Parameter) else Parameter(name.replace('__', '.'), value=value)
        for name, value in values.items()
    ]
    result = node.set_parameters_atomically(changes)
    assert result.successful == (result.reason == '')
    return result.reason


def ours(node):
    names = node.list_parameters([], 0).names
    return {name for name in names if name not in ('use_sim_time', 'start_type_description_service')}


def test_every_parameter_is_declared_with_its_default(make):
    node = make()
    assert node.own.current == PerceptionParameters()
    assert ours(node) == set(known_definitions(['camera']))
    assert node.warned == []


def test_every_descriptor_describes(make):
    node = make()
    for name, definition in known_definitions(['camera']).items():
        descriptor = node.describe_parameter(name)
        assert descriptor.description == definition.description
        assert descriptor.additional_constraints.startswith(definition.constraint)
        assert descriptor.read_only == (name == 'autostart')
        assert descriptor.dynamic_typing == ('.budget.' in name and name.startswith('cameras'))
    fixed = node.describe_parameter('budget.fixed').floating_point_range[0]
    assert (fixed.from_value, fixed.to_value) == (0.0, 3600.0)
    top = node.describe_parameter('top_k').integer_range[0]
    assert (top.from_value, top.to_value) == (1, 65535)


def test_the_yaml_file_and_the_declared_parameters_agree_both_ways(make):
    given = parameter_dict_from_yaml_file(str(YAML), use_wildcard=True)
    values = {name: Parameter.from_parameter_msg(message).value for name, message in given.items()}
    node = make()
    optional = {name for name in ours(node) if node.get_parameter(name).value is None}
    assert set(values) == ours(node) - optional
    assert parse(values) == PerceptionParameters()
    assert values['cameras.camera.topic'] == '/camera/image_raw'


def test_the_yaml_file_gives_the_types_that_are_declared():
    given = yaml.safe_load(YAML.read_text())['/**']['ros__parameters']
    assert given['budget'] == {
        name.split('.')[1]: definition.default
        for name, definition in known_definitions([]).items()
        if name.startswith('budget.')
    }
    numbers = [value for value in given['budget'].values() if not isinstance(value, str)]
    assert all(isinstance(value, float) for value in numbers)


def test_the_yaml_file_names_every_value_that_one_camera_may_have_of_its_own():
    text = YAML.read_text()
    shown = re.findall(r'^        #   (\w+): (\S+)$', text[text.index('        # budget:') :], re.MULTILINE)
    known = [name.split('.') for name in known_definitions(['c'])]
    assert [name for name, _ in shown] == [parts[3] for parts in known if len(parts) == 4]
    parse({f'cameras.camera.budget.{name}': yaml.safe_load(value) for name, value in shown})


def test_a_node_takes_the_yaml_file(make):
    node = make(arguments=['--ros-args', '--params-file', str(YAML)])
    assert node.own.current == PerceptionParameters()
    assert node.warned == []


def test_values_given_at_start_up_override_the_defaults(make):
    node = make(
        {
            'camera_names': ['front', 'rear'],
            'cameras.rear.topic': '/back',
            'cameras.rear.roi': [1, 2, 3, 4],
            'cameras.rear.budget.source': 'topic',
        }
    )
    current = node.own.current
    assert current.camera('front').topic == '/front/image_raw'
    assert current.camera('rear').topic == '/back'
    assert current.camera('rear').roi == (1, 2, 3, 4)
    assert current.camera('rear').budget == BudgetParameters(source='topic')


def test_whole_numbers_are_accepted_for_numbers_at_start_up(make):
    arguments = ['--ros-args', '-p', 'budget.fixed:=1', '-p', 'cameras.camera.budget.reserve:=0']
    node = make(arguments=arguments)
    assert node.get_parameter('budget.fixed').type_ == Parameter.Type.DOUBLE
    assert node.own.current.cameras[0].budget == BudgetParameters(fixed=1.0, reserve=0.0)


def test_whole_numbers_are_accepted_for_numbers_live(make):
    node = make(state='active')
    assert change(node, budget__fixed=2, cameras__camera__budget__max_age=1) == ''
    assert node.get_parameter('budget.fixed').type_ == Parameter.Type.DOUBLE
    assert node.get_parameter('cameras.camera.budget.max_age').type_ == Parameter.Type.DOUBLE
    assert node.own.current.cameras[0].budget == BudgetParameters(fixed=2.0, max_age=1.0)


@pytest.mark.parametrize('empty', [[], [b''][:0]])
def test_an_empty_region_of_interest_stays_a_list_of_whole_numbers(make, empty):
    node = make({'cameras.camera.roi': [0, 0, 5, 5]}, state='active')
    assert change(node, cameras__camera__roi=empty) == ''
    assert node.get_parameter('cameras.camera.roi').type_ == Parameter.Type.INTEGER_ARRAY
    assert change(node, cameras__camera__roi=[0, 0, 9, 9]) == ''
    assert node.own.current.cameras[0].roi == (0, 0, 9, 9)


def test_empty_lists_in_a_file_are_empty_lists(make, tmp_path):
    file = tmp_path / 'p.yaml'
    file.write_text('/**: {ros__parameters: {cameras: {camera: {roi: []}}}}')
    assert make(arguments=['--ros-args', '--params-file', str(file)]).own.current.cameras[0].roi == ()
    file.write_text('/**: {ros__parameters: {camera_names: []}}')
    with pytest.raises(ParameterError, match='camera_names is empty'):
        make(arguments=['--ros-args', '--params-file', str(file)])


def test_values_that_cannot_be_stop_the_start_with_all_reasons(make):
    with pytest.raises(ParameterError) as refused:
        make({'budget.fixed': -1, 'mode': 'fast', 'cameras.camera.topic': '/a b', 'top_k': 'many'})
    assert len(refused.value.problems) == 3  # topics are judged when the rest is right


@pytest.mark.parametrize('topic', ['/a b', '/a//b', '/a/', '1a', '{nonsense}/a', 'ü'])
def test_a_topic_that_is_none_is_refused(make, topic):
    with pytest.raises(ParameterError, match=r'camera.topic is .*such as /camera/image') as refused:
        make({'cameras.camera.topic': topic})
    assert '\n' not in str(refused.value)
    assert 'src/rcl' not in str(refused.value)


def test_a_change_is_there_at_once_and_told(make):
    node = make(state='active')
    before = node.own.current
    assert change(node, budget__fixed=0.25, mode='contract') == ''
    assert node.own.current == replace(
        before,
        mode='contract',
        budget=replace(before.budget, fixed=0.25),
        cameras=(replace(before.cameras[0], budget=replace(before.budget, fixed=0.25)),),
    )
    assert node.told == [node.own.current]
    assert before == PerceptionParameters()


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'budget__fixed': -0.1}, 'budget.fixed out of range.*Min: 0.0'),  # rclpy's own, from the descriptor
        ({'budget__fixed': float('nan')}, 'budget.fixed out of range'),
        ({'budget__control_phase': float('inf')}, 'control_phase is inf: write a number'),
        ({'budget__fixed': 'soon'}, "Wrong parameter type, expected 'Type.DOUBLE'"),
        ({'budget__source': 'loop'}, 'write one of fixed, control_loop, topic'),
        ({'mode': 'adaptiv'}, r"mode is 'adaptiv': write one of .* \(did you mean adaptive\?\)"),
        ({'cameras__camera__budget__fixed': 'soon'}, 'cameras.camera.budget.fixed is .*write a number'),
        ({'cameras__camera__budget__fixed': -1}, 'budget.fixed out of range'),
        ({'cameras__camera__roi': [1, 2]}, r'write \[\] for the whole frame'),
        ({'autostart': False}, 'read-only'),
    ],
)
def test_a_value_that_cannot_be_is_refused_live_and_nothing_changes(make, values, reason):
    node = make(state='active')
    before = node.own.current
    assert re.search(reason, change(node, top_k=3, **values))
    assert node.own.current is before
    assert node.get_parameter('top_k').value == 5
    assert node.told == []


def test_an_atomic_change_is_judged_by_its_result(make):
    node = make()
    reason = change(node, camera_names=['a', 'a'], top_k=7)
    assert 'give every camera a name of its own' in reason
    assert node.own.current.top_k == 5


@pytest.mark.parametrize(
    ('state', 'values', 'reason'),
    [
        ('active', {'camera_names': ['other']}, 'camera_names cannot change while the node is active'),
        ('active', {'cameras__camera__topic': '/x'}, 'deactivate it first'),
        ('active', {'cameras__camera__transport': 'compressed'}, 'deactivate it first'),
        ('active', {'model': 'm.safetensors'}, 'while a model is loaded: deactivate and clean up first'),
        ('inactive', {'model': 'm.safetensors'}, 'clean up first'),
        ('inactive', {'device': 'cpu'}, 'clean up first'),
        ('inactive', {'runtime': 'eager'}, 'clean up first'),
        ('inactive', {'precision': 'f32'}, 'clean up first'),
        ('activating', {'camera_names': ['other']}, 'changes its state: try again'),
        ('inactive', {'camera_names': ['other']}, ''),
        ('inactive', {'cameras__camera__topic': '/x'}, ''),
        ('unconfigured', {'model': 'm.safetensors', 'device': 'cpu', 'runtime': 'eager'}, ''),
        ('active', {'model': '', 'camera_names': ['camera'], 'runtime': 'auto'}, ''),  # no change
        ('active', {'cameras__camera__roi': [0, 0, 1, 1], 'top_k': 1, 'on_miss': 'late'}, ''),
    ],
)
def test_what_cannot_change_in_a_state_is_refused_there(make, state, values, reason):
    node = make(state=state)
    found = change(node, **values)
    assert (reason in found) if reason else found == ''


def test_a_new_cameras_parameters_are_declared_with_what_was_given_for_it(make):
    node = make({'cameras.rear.topic': '/back', 'cameras.rear.budget.fixed': 1}, state='inactive')
    assert change(node, camera_names=['camera', 'rear', 'left']) == ''
    assert ours(node) == set(known_definitions(['camera', 'rear', 'left']))
    assert node.own.current.camera('rear').topic == '/back'
    assert node.own.current.camera('rear').budget.fixed == 1.0
    assert node.own.current.camera('left').topic == '/left/image_raw'
    assert change(node, cameras__left__budget__source='topic') == ''
    assert len(node.told) == 2


def test_the_parameters_of_a_camera_that_is_gone_are_gone(make):
    node = make({'camera_names': ['a', 'b']}, state='inactive')
    assert change(node, camera_names=['b']) == ''
    assert ours(node) == set(known_definitions(['b']))


def test_a_camera_whose_given_values_cannot_be_is_refused_when_it_is_named(make):
    node = make({'cameras.rear.transport': 'jpeg'}, state='inactive')
    assert 'cameras.rear.transport' in change(node, camera_names=['rear'])
    assert ours(node) == set(known_definitions(['camera']))


def test_a_deleted_value_of_a_camera_is_not_set_again(make):
    node = make({'cameras.camera.budget.fixed': 0.5}, state='active')
    assert change(node, fixed=Parameter('cameras.camera.budget.fixed')) == ''
    assert node.own.current.cameras[0].budget.fixed == 0.1
    assert ours(node) == set(known_definitions(['camera']))
    assert change(node, cameras__camera__budget__fixed=0.7) == ''
    assert node.own.current.cameras[0].budget.fixed == 0.7


def test_other_parameters_cannot_be_deleted(make):
    node = make()
    assert 'cannot be undeclared' in change(node, fixed=Parameter('budget.fixed'))
    assert 'cannot be deleted' in check(node, [Parameter('budget.fixed')]).reason


def test_parameters_of_others_are_not_ours_to_judge(make):
    node = make(state='active')
    assert change(node, use_sim_time=False) == ''
    assert node.told == []


@pytest.mark.parametrize(
    ('given', 'warning'),
    [
        ({'buget.fixed': 0.2}, r'buget.fixed was given and has no effect: .*did you mean budget.fixed or '),
        ({'cameras.camra.topic': '/x'}, r"camera_names has no 'camra' \(did you mean camera\?\)"),
        ({'cameras.camera.tpic': '/x'}, r'did you mean cameras.camera.topic[,?]'),
        ({'zzz': 1}, 'zzz was given and has no effect: there is no such parameter$'),
    ],
)
def test_values_that_no_parameter_takes_are_named(make, given, warning):
    node = make(given)
    assert len(node.warned) == 1
    assert re.search(warning, node.warned[0])


def test_a_transport_that_does_not_fit_its_topic_is_pointed_out(make):
    assert len(make({'cameras.camera.transport': 'compressed'}).warned) == 1
    fits = {'cameras.camera.transport': 'compressed', 'cameras.camera.topic': '/c/image_raw/compressed'}
    assert hints(parse(fits)) == []


def test_a_label_alone_without_unknown_answers_is_pointed_out(make):
    [warning] = make({'labels': ['cup']}).warned
    assert "labels has 'cup' alone" in warning
    assert (
        hints(parse({'labels': ['cup'], 'unknown_below': 0.3}))
        == hints(parse({'labels': ['cup', 'mug']}))
        == []
    )


def test_the_labels_can_be_emptied_again(make):
    node = make({'labels': ['cup', 'banana']})
    assert node.own.current.labels == ('cup', 'banana')
    assert change(node, labels=[]) == ''
    assert node.own.current.labels == ()
    assert make(arguments=['--ros-args', '-p', 'labels:=[]']).own.current.labels == ()


def test_topics_may_be_relative_to_the_namespace(make):
    assert make({'cameras.camera.topic': 'image_raw'}).own.current.cameras[0].topic == 'image_raw'


def test_the_parameter_services_convert_check_and_explain(make, context):
    node = make(services=True)
    client = Node('client', context=context, enable_rosout=False)
    executor = SingleThreadedExecutor(context=context)
    for each in (node, client):
        executor.add_node(each)
    parameters = AsyncParameterClient(client, 'perception')

    def set_remotely(name, value, type_=None):
        change = Parameter(name, type_, value) if type_ else Parameter(name, value=value)
        future = parameters.set_parameters([change])
        executor.spin_until_future_complete(future, timeout_sec=30)
        return future.result().results[0].reason

    try:
        assert parameters.wait_for_services(timeout_sec=30)
        assert set_remotely('budget.fixed', 2) == ''
        assert set_remotely('cameras.camera.roi', [1, 2, 3, 4]) == ''
        assert node.own.current.cameras[0].roi == (1, 2, 3, 4)
        assert set_remotely('cameras.camera.roi', [], Parameter.Type.BOOL_ARRAY) == ''  # `ros2 param set`
        assert set_remotely('camera_names', ['camera', 'rear']) == ''
        assert set_remotely('cameras.rear.budget.source', 'topic') == ''
        assert 'write one of' in set_remotely('mode', 'fast')
        assert 'budget.fixed out of range' in set_remotely('budget.fixed', -1)
        assert 'undeclared' in set_remotely('budget.fxd', 1)
    finally:
        executor.shutdown()
        client.destroy_node()
    current = node.own.current
    assert current.camera('camera').budget.fixed == 2.0
    assert current.camera('camera').roi == ()
    assert current.camera('rear').budget == BudgetParameters(source='topic', fixed=2.0)


def test_reading_is_what_is_declared(make):
    node = make({'top_k': 2})
    assert read(node) == node.own.current
