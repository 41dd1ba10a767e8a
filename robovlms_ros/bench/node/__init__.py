"""The vla_node as a process against its targets: null policy, a private ROS domain."""
