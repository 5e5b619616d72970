"""What the demo shows, and the account of its frames. No ROS."""
