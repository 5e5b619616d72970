"""Whether a ROS 2 distribution is sourced in this shell, and what it offers."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ['NEEDED', 'Distribution', 'sourced_distribution']

# Python modules that must come from the distribution, and the deb packages, ros-<distro>-..., with them.
NEEDED = {
    'rclpy': 'rclpy',
    'diagnostic_msgs': 'diagnostic-msgs',
    'lifecycle_msgs': 'lifecycle-msgs',
    'sensor_msgs': 'sensor-msgs',
    'std_msgs': 'std-msgs',
    'std_srvs': 'std-srvs',
    'vision_msgs': 'vision-msgs',
    'cv_bridge': 'cv-bridge',
}


@dataclass(frozen=True)
class Distribution:
    """A sourced distribution: its name ('jazzy'), where its rclpy lies, which modules of NEEDED it lacks."""

    name: str
    rclpy: str
    missing: tuple[str, ...] = ()


def sourced_distribution(environ: Mapping[str, str]) -> Distribution | None:
    """The distribution that `environ` has sourced, or None: then ROS 2 comes from PyPI."""
    name = environ.get('ROS_DISTRO')
    if not name or not environ.get('AMENT_PREFIX_PATH'):
        return None
    # A process of its own, because what this one has on its path depends on how it was started.
    program = (
        'import importlib.util as u, json, sys; '
        's = {n: u.find_spec(n) for n in sys.argv[1:]}; '
        'print(json.dumps([str(s["rclpy"] and s["rclpy"].origin), [n for n in s if s[n] is None]]))'
    )
    command = [sys.executable, '-c', program, *NEEDED]
    found = subprocess.run(command, env=dict(environ), cwd='/', capture_output=True, text=True, check=True)
    rclpy, missing = json.loads(found.stdout)
    return Distribution(name, rclpy, tuple(missing))
