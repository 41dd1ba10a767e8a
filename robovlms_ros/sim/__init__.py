"""The tabletop: a simulated arm, three blocks, two cameras and an expert, in MuJoCo. No ROS, no torch."""
