"""launch/perception.launch.py, run by ROS 2's own launch; a stand-in executable tells what it was given.

Only where launch_ros is installed: it belongs to a ROS 2 distribution and is not on PyPI.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip('launch_ros', reason='launch_ros comes only with a ROS 2 distribution')
yaml = pytest.importorskip('yaml')
pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parent.parent.parent
LAUNCH_FILE = ROOT / 'launch' / 'perception.launch.py'
PROFILE = str(ROOT / 'config' / 'fastdds_node.xml')
VARIABLES = (
    'FASTRTPS_DEFAULT_PROFILES_FILE',
    'FASTDDS_DEFAULT_PROFILES_FILE',
    'MALLOC_MMAP_THRESHOLD_',
    'MALLOC_TRIM_THRESHOLD_',
)

# What `ros2 launch FILE name:=value ...` does.
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

file, *arguments = sys.argv[1:]
source = PythonLaunchDescriptionSource(file)
pairs = [argument.split(':=', 1) for argument in arguments]
service = LaunchService()
include = IncludeLaunchDescription(source, launch_arguments=pairs)
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""

# Writes down its arguments, its parameter files (launch removes them) and its environment.
STAND_IN = """#!{python}
import json, os, pathlib, sys
files = [value for name, value in zip(sys.argv, sys.argv[1:]) if name == '--params-file']
given = {{
    'arguments': sys.argv[1:],
    'files': [[file, pathlib.Path(file).read_text()] for file in files],
    'environment': dict(os.environ),
}}
pathlib.Path({output!r}).write_text(json.dumps(given))
"""

NODE = """#!/bin/sh
exec {python} -m impatient_ros.ros.perception_node "$@"
"""


@pytest.fixture
def install(tmp_path):
    """Makes a prefix in which the node's executable is the given script; returns the environment with it."""

    def install(script):
        prefix = tmp_path / 'prefix'
        executable = prefix / 'lib' / 'impatient_ros' / 'perception_node'
        index = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages'
        for folder in (executable.parent, index):
            folder.mkdir(parents=True)
        (index / 'impatient_ros').write_text('')
        executable.write_text(script)
        executable.chmod(0o755)
        environ = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        environ['AMENT_PREFIX_PATH'] = f'{prefix}:{os.environ.get("AMENT_PREFIX_PATH", "")}'
        environ['PYTHONPATH'] = f'{ROOT}:{os.environ.get("PYTHONPATH", "")}'
        return environ

    return install


@pytest.fixture
def launched(tmp_path, install):
    """Launches with the given arguments and variables; returns what the executable was given."""
    output = tmp_path / 'given.json'
    environ = install(STAND_IN.format(python=sys.executable, output=str(output)))

    def launched(*arguments, file=LAUNCH_FILE, **variables):
        command = [sys.executable, '-c', LAUNCH, str(file), *arguments]
        done = subprocess.run(command, env=environ | variables, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(output.read_text())

    return launched


def test_by_default_only_the_shipped_parameter_file_is_passed(launched):
    given = launched()
    assert [file for file, _ in given['files']] == [str(ROOT / 'config' / 'perception.yaml')]
    assert '__node:=perception' in given['arguments']
    assert not [
        argument for argument in given['arguments'] if argument.startswith('__ns:=') and argument != '__ns:=/'
    ]
    assert '--log-level' not in given['arguments']


def test_by_default_the_profile_and_the_allocator_are_set(launched):
    environment = launched()['environment']
    assert environment['FASTRTPS_DEFAULT_PROFILES_FILE'] == PROFILE
    assert environment['FASTDDS_DEFAULT_PROFILES_FILE'] == PROFILE
    assert environment['MALLOC_MMAP_THRESHOLD_'] == '1073741824'
    assert environment['MALLOC_TRIM_THRESHOLD_'] == '4294967296'


def test_a_profile_and_a_threshold_that_are_set_stay(launched):
    environment = launched(FASTDDS_DEFAULT_PROFILES_FILE='/mine.xml', MALLOC_TRIM_THRESHOLD_='1')[
        'environment'
    ]
    assert environment['FASTDDS_DEFAULT_PROFILES_FILE'] == '/mine.xml'
    assert 'FASTRTPS_DEFAULT_PROFILES_FILE' not in environment
    assert environment['MALLOC_TRIM_THRESHOLD_'] == '1'


def test_arguments_that_are_given_override_the_file(launched, tmp_path):
    mine = tmp_path / 'mine.yaml'
    mine.write_text('/**:\n  ros__parameters:\n    model: from-the-file\n')
    given = launched(
        f'params_file:={mine}',
        'checkpoint:=m.safetensors',
        'name:=eyes',
        'namespace:=front',
        'autostart:=false',
        'use_sim_time:=true',
        'log_level:=debug',
    )
    (first, _), _ = given['files']
    assert first == str(mine)
    expected = {'model': 'm.safetensors', 'autostart': False, 'use_sim_time': True}
    assert overridden(given) == expected
    assert '__ns:=/front' in given['arguments']
    assert '__node:=eyes' in given['arguments']
    # The node's own logger: rcl's debug output is hundreds of lines.
    assert given['arguments'][given['arguments'].index('--log-level') + 1] == 'front.eyes:=debug'


def overridden(given):
    """The parameters that the arguments set."""
    (parameters,) = yaml.safe_load(given['files'][1][1]).values()
    return parameters['ros__parameters']


@pytest.mark.parametrize(('topic', 'transport'), [('/front/image', 'raw'), ('/a/compressed', 'compressed')])
def test_a_camera_is_one_argument(launched, topic, transport):
    given = launched(f'image_topic:={topic}')
    assert overridden(given) == {'cameras.camera.topic': topic, 'cameras.camera.transport': transport}
    assert '--log-level' not in given['arguments']


@pytest.mark.parametrize(
    ('argument', 'said'),
    [
        ('use_sim_time:=maybe', 'use_sim_time'),
        ('respawn:=often', 'respawn'),
        ('log_level:=loud', 'log_level'),
        ('params_file:=/nowhere/mine.yaml', 'params_file: there is no file /nowhere/mine.yaml'),
        ('checkpoint:=$(find-pkg-share not_there)/m.safetensors', "package 'not_there' not found"),
    ],
)
def test_what_cannot_be_meant_stops_the_launch(install, argument, said):
    command = [sys.executable, '-c', LAUNCH, str(LAUNCH_FILE), argument]
    done = subprocess.run(command, env=install(''), capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr


def test_paths_may_be_of_a_package_or_of_the_home(launched, tmp_path):
    (tmp_path / 'mine.yaml').write_text(
        '/**:  # "$(find-pkg-share impatient_ros)" and the like\n'
        '  ros__parameters:\n    model: $(find-pkg-share impatient_ros)/m.safetensors\n    labels: []\n'
    )
    given = launched('params_file:=~/mine.yaml', 'checkpoint:=~/m.safetensors', HOME=str(tmp_path))
    share = tmp_path / 'prefix' / 'share' / 'impatient_ros'
    (parameters,) = yaml.safe_load(given['files'][0][1]).values()
    assert parameters == {'ros__parameters': {'model': f'{share}/m.safetensors', 'labels': []}}
    assert overridden(given) == {'model': str(tmp_path / 'm.safetensors')}


# A robot's own launch file; {action} includes ours.
PARENT = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushROSNamespace

OURS = PythonLaunchDescriptionSource({file!r})

def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument('model', default_value='robot.urdf'),
        DeclareLaunchArgument('namespace', default_value='robot1'),
        {action},
    ])
"""
IN_ITS_NAMESPACE = "PushROSNamespace('robot1'), IncludeLaunchDescription(OURS)"
BELOW_IT = (
    "PushROSNamespace('robot1'), "
    "IncludeLaunchDescription(OURS, launch_arguments={'namespace': 'front'}.items())"
)
# As the README has it.
ALONE = (
    "GroupAction([PushROSNamespace('robot1'), IncludeLaunchDescription(OURS, launch_arguments="
    "{'checkpoint': 'm.safetensors'}.items())], scoped=True, forwarding=False)"
)


@pytest.mark.parametrize(
    ('action', 'namespace', 'files'),
    [(IN_ITS_NAMESPACE, '/robot1', 1), (BELOW_IT, '/robot1/front', 1), (ALONE, '/robot1', 2)],
)
def test_included_it_takes_no_argument_for_another_and_no_namespace_twice(
    launched, tmp_path, action, namespace, files
):
    parent = tmp_path / 'robot.launch.py'
    parent.write_text(PARENT.replace('{file!r}', repr(str(LAUNCH_FILE))).replace('{action}', action))
    given = launched(file=parent)
    assert f'__ns:={namespace}' in given['arguments']
    assert len(given['files']) == files
    assert 'robot.urdf' not in str(given)


def test_a_node_that_ends_is_started_again_where_that_is_asked_for(install, tmp_path):
    starts = tmp_path / 'starts'
    # Its second life ends the launch.
    second = f'[ $(wc -l < {starts}) -ge 2 ] || exit 1\nkill -INT $PPID\nexec sleep 60\n'
    environ = install(f'#!/bin/sh\necho start >> {starts}\n{second}')
    command = [sys.executable, '-c', LAUNCH, str(LAUNCH_FILE), 'respawn:=true']
    subprocess.run(command, env=environ, capture_output=True, timeout=60)
    assert starts.read_text() == 'start\nstart\n'


def interrupt_until_it_ends(pid):
    """A second signal must not kill a node that is ending, at whatever instant it comes."""
    with contextlib.suppress(ProcessLookupError):
        for _ in range(1000):
            os.kill(pid, signal.SIGINT)
            time.sleep(0.01)


def test_the_node_becomes_active_by_itself_and_ends_cleanly_on_ctrl_c(install, tmp_path):
    from lifecycle_msgs.msg import State
    from lifecycle_msgs.srv import GetState

    rclpy = pytest.importorskip('rclpy')
    context = rclpy.Context()
    rclpy.init(context=context)
    watcher = rclpy.create_node('watcher', context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    states = watcher.create_client(GetState, '/under_test/perception/get_state')
    command = [sys.executable, '-c', LAUNCH, str(LAUNCH_FILE), 'namespace:=under_test']
    environ = install(NODE.format(python=sys.executable))
    # A group of its own: a terminal's Ctrl-C reaches launch and the node, and launch sends it once more.
    output = tmp_path / 'output'
    with open(output, 'w') as file:
        launch = subprocess.Popen(
            command, env=environ, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        state, end = None, time.monotonic() + 90
        while state != State.PRIMARY_STATE_ACTIVE and launch.poll() is None and time.monotonic() < end:
            if not states.wait_for_service(timeout_sec=1.0):
                continue
            answer = states.call_async(GetState.Request())
            rclpy.spin_until_future_complete(watcher, answer, executor, timeout_sec=2.0)
            state = answer.result().current_state.id if answer.done() else None
        os.killpg(launch.pid, signal.SIGINT)
        interrupt_until_it_ends(int(re.search(r'started with pid \[(\d+)\]', output.read_text())[1]))
        launch.wait(30)
    finally:
        if launch.poll() is None:
            os.killpg(launch.pid, signal.SIGKILL)
        executor.shutdown()
        watcher.destroy_node()
        rclpy.shutdown(context=context)
    assert state == State.PRIMARY_STATE_ACTIVE, output.read_text()
    assert launch.returncode == 0, output.read_text()
    assert 'process has finished cleanly' in output.read_text()
