"""`rclpy.init` for programs: what keeps it from working is said in one line, with what to do instead."""

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import rclpy
import rclpy.logging
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

__all__ = ['StartError', 'initialize', 'log_folder_environment', 'own_arguments']

# What follows the sentence in rcl's texts: where in its source the error was found.
_PLACES = re.compile(r', at \S+:\d+')
# What to do, by a part of rcl's text.
_ADVICE = (
    ('Error opening YAML file', 'pass the path of a file that exists and can be read'),
    ('No value at line', "write a value there ('' for no text, [] for none), or leave the line out"),
    ('Error parsing', 'mend the YAML there; config/perception.yaml of this package is an example'),
    ("Couldn't parse params file", 'config/perception.yaml of this package is an example of such a file'),
    ("Couldn't parse parameter override rule", 'write -p name:=value, with a value after :='),
    ("Couldn't parse remap rule", 'write -r from:=to'),
    ('logging directory', 'set ROS_LOG_DIR to a folder that can be written'),
    ('log directory', 'set ROS_LOG_DIR to a folder that can be written'),
)


class StartError(Exception):
    """ROS 2 cannot be initialised with these arguments in this environment; one line."""


def initialize(args: Sequence[str] | None = None, context: Context | None = None) -> None:
    """Initialise a context (None: the default one) without rclpy's signal handlers. Raises StartError.

    Where log files cannot be written to the usual folder, they go to a temporary one.
    """
    added, why = log_folder_environment(os.environ)
    os.environ.update(added)
    try:
        arguments = None if args is None else list(args)
        rclpy.init(args=arguments, context=context, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # its kinds are private to rclpy
        rclpy.try_shutdown(context=context)  # it may have come half the way
        raise StartError(_one_line(error)) from error
    if why:
        rclpy.logging.get_logger('rclpy').warning(why)


def own_arguments(args: Sequence[str]) -> list[str]:
    """Those among a program's arguments that are not for ROS. Raises StartError."""
    try:
        return remove_ros_args(['', *args])[1:]
    except Exception as error:
        raise StartError(_one_line(error)) from error


def log_folder_environment(environ: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The variables to add so that log files can be written, and what to say about that; mostly nothing.

    The usual folder is rcl's: ROS_LOG_DIR, else log in ROS_HOME, else .ros/log in HOME.
    """
    home = environ.get('HOME', '')
    usual = environ.get('ROS_LOG_DIR') or os.path.join(environ.get('ROS_HOME') or f'{home}/.ros', 'log')
    reason = 'HOME is not set'
    if home or environ.get('ROS_LOG_DIR') or environ.get('ROS_HOME'):
        folder = Path(usual.replace('~', home, 1) if usual.startswith('~') else usual)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return {}, ''
            reason = f'{folder} cannot be written'
        except OSError as error:
            reason = f'{folder} cannot be made ({error.strerror})'
    with contextlib.suppress(OSError):  # without any place for them, rcl says so
        temporary = _temporary_folder()
        return {
            'ROS_LOG_DIR': temporary
        }, f'log files go to {temporary}: {reason}; ROS_LOG_DIR names another folder'
    return {}, ''


def _temporary_folder() -> str:
    """The same at each start, as long as it is this user's alone; raises OSError."""
    usual = Path(tempfile.gettempdir(), f'ros-log-{os.geteuid()}')
    with contextlib.suppress(OSError):  # somebody else's link or file
        usual.mkdir(mode=0o700, exist_ok=True)
        found = usual.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
            return str(usual)
    return tempfile.mkdtemp(prefix='ros-log-')


def _one_line(error: Exception) -> str:
    if type(error).__name__ == 'UnknownROSArgsError':
        return f'unknown arguments after --ros-args: {error}; a -- ends those for ROS'
    text = ' '.join(_PLACES.sub('', str(error)).split()).rstrip('.')
    advice = next((f'; {what}' for part, what in _ADVICE if part in text), '')
    return text + advice
