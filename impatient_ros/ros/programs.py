"""The programs that are installed; what they need, which takes seconds to import, they import when called."""

from typing import NoReturn

from impatient_ros.interrupts import end_quietly_while_importing

__all__ = ['perception_node', 'replay_camera']


def perception_node() -> NoReturn:
    """`ros2 run impatient_ros perception_node`."""
    end_quietly_while_importing()
    from impatient_ros.ros.perception_node import run

    run()


def replay_camera() -> NoReturn:
    """`ros2 run impatient_ros replay_camera`."""
    end_quietly_while_importing()
    from impatient_ros.ros.replay_camera import main
    from impatient_ros.standard_output import run_command

    run_command(main)
