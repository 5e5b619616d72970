"""Which exits to evaluate for which budget: latency profiles, the forecast, the planner. No torch, no ROS.

Many constants here say what another value does *on the recorded traces*: the eight of `clothing10` and
`resnet18` in `test/benchmark/traces` as `test/benchmark/deadlines.py --simulate all` replays them (whole,
mode adaptive, miss rate 1 %), as means over the traces. With the constants as they are, 0.10 % of the
feasible frames miss, 1.60 % of the protected exits overrun, 73.3 % of the frames have a protected exit, and
the expected accuracy is 79.50 %. The traces were used to choose some of the constants, so they are no
held-out test.
"""
