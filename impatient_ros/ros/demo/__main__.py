"""Runs the demo."""

from impatient_ros.ros.demo.command import main
from impatient_ros.standard_output import run_command

run_command(main)
