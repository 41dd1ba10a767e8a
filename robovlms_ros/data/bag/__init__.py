"""rosbag2 recordings as episodes, without a ROS installation."""
