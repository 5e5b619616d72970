"""Starts the perception node, which makes itself active unless its parameters say autostart: false.

    ros2 launch impatient_ros perception.launch.py params_file:=mine.yaml model:=mine.safetensors

Every default stands in the node or in the parameter file: an argument left empty passes nothing.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterFile

from impatient_ros.resources import resource_path
from impatient_ros.ros.environment import NODE_PROFILE, transport_environment

BOOLEANS = {'true': True, 'True': True, 'false': False, 'False': False}


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    parameters = str(resource_path('config', 'perception.yaml'))
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'params_file', default_value=parameters, description='the parameters (YAML)'
            ),
            DeclareLaunchArgument(
                'model', default_value='', description='the checkpoint; empty: as params_file says'
            ),
            DeclareLaunchArgument('namespace', default_value='', description="the node's namespace"),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='',
                choices=['', *BOOLEANS],
                description='take the time from /clock; empty: as params_file says',
            ),
            DeclareLaunchArgument(
                'log_level',
                default_value='',
                choices=['', 'debug', 'info', 'warn', 'error', 'fatal'],
                description='how much the node logs; empty: as usual',
            ),
            OpaqueFunction(function=_node),
        ]
    )


def _node(context: LaunchContext) -> list[LifecycleNode]:
    model, use_sim_time, log_level = (
        LaunchConfiguration(name).perform(context) for name in ('model', 'use_sim_time', 'log_level')
    )
    overrides: dict[str, str | bool] = {}
    if model:
        overrides['model'] = model
    if use_sim_time:
        overrides['use_sim_time'] = BOOLEANS[use_sim_time]
    node = LifecycleNode(
        package='impatient_ros',
        executable='perception_node',
        name='perception',
        namespace=LaunchConfiguration('namespace'),
        parameters=[
            ParameterFile(LaunchConfiguration('params_file')),
            *([overrides] if overrides else []),
        ],
        ros_arguments=['--log-level', log_level] if log_level else None,
        # The context's environment, so that what an including launch file has set is kept.
        additional_env=transport_environment(context.environment, NODE_PROFILE),
        output='screen',
    )
    return [node]
