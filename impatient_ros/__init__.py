"""The runtime: camera frames in, the best answer by each frame's deadline out."""

from impatient_ros.interrupts import end_quietly_while_importing, starts_as_module

if starts_as_module(__name__):
    end_quietly_while_importing()
