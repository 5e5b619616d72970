"""Offline half of the project: learns impatient networks and writes the checkpoints that the node loads.

Run from the clone (``python -m training.train fit ...``); imports impatient_ros, never ROS, and nothing in
impatient_ros imports it.
"""
