"""The node's engine: from camera messages to answers at their deadlines. No ROS: time and outputs come in."""
