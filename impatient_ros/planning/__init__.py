"""Which exits to evaluate for which budget: latency profiles, the forecast, the planner. No torch, no ROS."""
