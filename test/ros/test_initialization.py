"""What keeps ROS 2 from starting is said in one line; log files find a place."""

import subprocess
import sys
from pathlib import Path

import pytest
from rclpy.context import Context

from impatient_ros.ros.initialization import (
    StartError,
    initialize,
    log_folder_environment,
    own_arguments,
)

pytestmark = pytest.mark.ros

BLANK = '/**:\n  ros__parameters:\n    model:\n'
BROKEN = '/**:\n  ros__parameters:\n    labels: [\n'


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (None, ('mine.yaml', 'pass the path of a file that exists and can be read')),
        (BLANK, ('mine.yaml', 'line 3', "write a value there ('' for no text, [] for none)")),
        (BROKEN, ('mine.yaml', 'mend the YAML')),
        (
            '/**:\n  model: x\n',
            (
                'mine.yaml',
                'ros__parameters',
                'line 2',
                'config/perception.yaml of this package is an example',
            ),
        ),
    ],
)
def test_a_parameter_file_that_cannot_be_read_is_named_with_what_to_do(tmp_path, content, said):
    file = tmp_path / 'mine.yaml'
    if content is not None:
        file.write_text(content)
    for attempt in (lambda args: initialize(args, Context()), own_arguments):
        with pytest.raises(StartError) as refused:
            attempt(['--ros-args', '--params-file', str(file)])
        text = str(refused.value)
        assert [part for part in said if part not in text] == []
        assert '\n' not in text
        assert '/project/' not in text  # a path of the machine that rcl was built on


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('-p', 'model:'), 'write -p name:=value'),
        (('-r', 'nothing'), 'write -r from:=to'),
        (('--nonsense',), "unknown arguments after --ros-args: ['--nonsense']"),
    ],
)
def test_so_are_arguments_that_ros_does_not_understand(arguments, said):
    with pytest.raises(StartError) as refused:
        initialize(['--ros-args', *arguments], Context())
    assert said in str(refused.value)


def test_the_node_ends_with_code_2_and_no_traceback(tmp_path):
    command = [sys.executable, '-m', 'impatient_ros.ros.perception_node', '--ros-args', '--params-file']
    done = subprocess.run([*command, str(tmp_path / 'none.yaml')], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert 'pass the path of a file that exists' in done.stderr
    assert 'Traceback' not in done.stdout + done.stderr


def test_so_does_the_replay_camera(tmp_path):
    command = [sys.executable, '-m', 'impatient_ros.ros.replay_camera', 'x', '--ros-args', '--params-file']
    done = subprocess.run([*command, str(tmp_path / 'none.yaml')], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert 'pass the path of a file that exists' in done.stderr
    assert 'Traceback' not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ('environ', 'folder'),
    [
        ({'HOME': '{home}'}, '.ros/log'),
        ({'HOME': '/proc', 'ROS_HOME': '{home}/ros'}, 'ros/log'),
        ({'HOME': '/proc', 'ROS_HOME': '/proc', 'ROS_LOG_DIR': '{home}/logs'}, 'logs'),
        ({'HOME': '{home}', 'ROS_LOG_DIR': '~/logs'}, 'logs'),
        ({'HOME': '{home}', 'ROS_LOG_DIR': ''}, '.ros/log'),
    ],
)
def test_log_files_stay_where_rcl_would_write_them(tmp_path, environ, folder):
    given = {name: value.format(home=tmp_path) for name, value in environ.items()}
    assert log_folder_environment(given) == ({}, '')
    assert (tmp_path / folder).is_dir()


@pytest.mark.parametrize(
    ('environ', 'reason'),
    [
        ({}, 'HOME is not set'),
        ({'HOME': '/proc'}, '/proc/.ros/log cannot be made'),
        ({'HOME': '/tmp', 'ROS_LOG_DIR': '/proc/logs'}, '/proc/logs cannot be made'),
    ],
)
def test_where_they_cannot_be_written_they_go_to_a_temporary_folder(tmp_path, monkeypatch, environ, reason):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    added, said = log_folder_environment(environ)
    assert Path(added['ROS_LOG_DIR']).is_dir()
    assert Path(added['ROS_LOG_DIR']).parent == tmp_path
    assert reason in said
    assert 'ROS_LOG_DIR names another folder' in said
    assert log_folder_environment(environ)[0] == added  # not one more at each start


def test_a_temporary_folder_that_others_can_change_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    usual = Path(log_folder_environment({})[0]['ROS_LOG_DIR'])
    usual.chmod(0o777)
    assert Path(log_folder_environment({})[0]['ROS_LOG_DIR']) != usual
    usual.rmdir()
    usual.symlink_to(tmp_path)
    assert Path(log_folder_environment({})[0]['ROS_LOG_DIR']) != usual
