"""Runs the demo."""

import sys

from impatient_ros.ros.demo.command import main

sys.exit(main())
