"""Starts the perception node, which makes itself active unless autostart is false.

    ros2 launch impatient_ros perception.launch.py params_file:=mine.yaml checkpoint:=mine.safetensors

Every default stands in the node or in the parameter file: an argument left empty passes nothing. README, "On
a robot", shows how another launch file includes this one.
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.frontend.parse_substitution import parse_substitution
from launch.substitutions import LaunchConfiguration
from launch.utilities import perform_substitutions
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterFile
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

from impatient_ros.resources import resource_path
from impatient_ros.ros.environment import NODE_PROFILE, transport_environment

BOOLEANS = {'true': True, 'True': True, 'false': False, 'False': False}
LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')
RESPAWN_DELAY = 2.0  # s; chosen, not measured: long enough for a camera or a disk to come back
CAMERA = 'camera'  # the one that the parameters' defaults name

# Name, values that it may have ((): any), what it is; each is '' by default.
ARGUMENTS = (
    (
        'params_file',
        (),
        'the parameters (YAML); empty: the defaults. $(find-pkg-share PACKAGE) and the like in it',
    ),
    ('checkpoint', (), 'the parameter model; empty: as params_file says'),
    ('image_topic', (), f'the topic of the camera called {CAMERA}; empty: as params_file says'),
    ('name', (), "the node's name; empty: perception"),
    ('namespace', (), "the node's namespace, below a pushed one; not again where that already ends with it"),
    ('autostart', BOOLEANS, 'whether the node makes itself active; empty: as params_file says'),
    ('use_sim_time', BOOLEANS, 'take the time from /clock; empty: as params_file says'),
    ('respawn', BOOLEANS, f'start the node again {RESPAWN_DELAY:g} s after it ended by itself; empty: no'),
    ('log_level', LEVELS, 'how much the node itself logs; empty: as usual'),
)


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    declared = [
        DeclareLaunchArgument(
            name, default_value='', description=text, choices=['', *choices] if choices else None
        )
        for name, choices, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_node)])


def _node(context: LaunchContext) -> list[LifecycleNode]:
    given = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    overrides: dict[str, str | bool] = {
        name: BOOLEANS[given[name]] for name in ('autostart', 'use_sim_time') if given[name]
    }
    if given['checkpoint']:
        overrides['model'] = str(_path(given['checkpoint'], context))
    if given['image_topic']:
        compressed = given['image_topic'].endswith('/compressed')
        overrides[f'cameras.{CAMERA}.topic'] = given['image_topic']
        overrides[f'cameras.{CAMERA}.transport'] = 'compressed' if compressed else 'raw'
    name = given['name'] or 'perception'
    pushed = make_namespace_absolute(context.launch_configurations.get('ros_namespace', ''))
    namespace = '' if _ends_with(pushed, given['namespace']) else given['namespace']
    # The logger of our node alone: rcl's and the middleware's own debug output is hundreds of lines.
    logger = '.'.join(filter(None, [*(prefix_namespace(pushed, namespace) or '').split('/'), name]))
    node = LifecycleNode(
        package='impatient_ros',
        executable='perception_node',
        name=name,
        namespace=namespace,
        parameters=[_parameter_file(given['params_file'], context), *([overrides] if overrides else [])],
        ros_arguments=['--log-level', f'{logger}:={given["log_level"]}'] if given['log_level'] else None,
        # The context's environment, so that what an including launch file has set is kept.
        additional_env=transport_environment(context.environment, NODE_PROFILE),
        output='screen',
        respawn=BOOLEANS.get(given['respawn'], False),
        respawn_delay=RESPAWN_DELAY,
    )
    return [node]


def _parameter_file(given: str, context: LaunchContext) -> ParameterFile:
    """ROS would start the node with the defaults where the file is missing. Raises FileNotFoundError."""
    file = _path(given, context) if given else resource_path('config', 'perception.yaml')
    if not file.is_file():
        raise FileNotFoundError(
            f'params_file: there is no file {file}; write the path of one, or leave it out'
        )
    return ParameterFile(str(file), allow_substs='$(' in file.read_text())


def _path(given: str, context: LaunchContext) -> Path:
    """With $(find-pkg-share ...) and the like, and ~, replaced."""
    if '$(' in given:
        given = perform_substitutions(context, parse_substitution(given))
    return Path(given).expanduser()


def _ends_with(pushed: str, namespace: str) -> bool:
    """Whether the namespace that an including file pushed ends with `namespace`: such a file often has an
    argument of that name itself, which reaches this one, too.
    """
    return (
        bool(namespace)
        and not namespace.startswith('/')
        and f'{pushed}/'.endswith(f'/{namespace.strip("/")}/')
    )
