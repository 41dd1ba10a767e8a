"""The definition of our action message, for bags of recorders that store none. A test holds it to ``msg/``."""

from __future__ import annotations

TYPE_NAME = "robovlms_ros/msg/VLAAction"
MODE_DELTA = 0
ROTATION_FORMATS = {0: "rpy", 1: "axis_angle"}
DEFINITION = """\
std_msgs/Header header
uint8 MODE_DELTA=0
uint8 MODE_ABSOLUTE=1
uint8 mode
geometry_msgs/Vector3 translation
uint8 ROTATION_RPY=0
uint8 ROTATION_AXIS_ANGLE=1
geometry_msgs/Vector3 rotation
uint8 rotation_format
float32 gripper
bool gripper_closed
builtin_interfaces/Duration step_duration
uint32 step_index
uint32 chunk_size
uint64 sequence
uint32 episode
uint32 saturated
float32 confidence
float32[7] model_action
builtin_interfaces/Duration inference_time
builtin_interfaces/Duration latency
string model_id
string instruction
"""
