"""From camera messages and picture files to the RGB that a network takes. No torch, no ROS."""
