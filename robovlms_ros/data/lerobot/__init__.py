"""LeRobot's datasets, versions 2.0, 2.1 and 3.0, read from their files; lerobot itself is not needed."""
