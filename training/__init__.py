"""Offline half of the project: learns impatient networks and writes the checkpoints that the node loads.

Run from the clone (``python -m training.train fit ...``); imports impatient_ros, never ROS, and nothing in
impatient_ros imports it.
"""

from impatient_ros.interrupts import end_quietly_while_importing, starts_as_module

if starts_as_module(__name__):
    end_quietly_while_importing()
