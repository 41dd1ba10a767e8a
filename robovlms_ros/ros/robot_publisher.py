"""What the drivers of a robot publish: camera images, the pose of the tool, joint states, and here the clock."""

from __future__ import annotations

import array

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState

from robovlms_ros.ros.arm_messages import pose_message
from robovlms_ros.ros.messages import to_time
from robovlms_ros.sim.robot import FINGER_JOINT, RobotView

# Camera of an observation -> topic and frame.
CAMERA_TOPICS = {"static": "camera/static/image_raw", "hand": "camera/wrist/image_raw"}
CAMERA_FRAMES = {"static": "camera_static", "hand": "camera_wrist"}


class RobotPublisher:
    """Publishes views of a robot, reliably: a subscription that wants less matches all the same."""

    def __init__(self, node: Node) -> None:
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._clock = node.create_publisher(Clock, "/clock", reliable)
        self._pose = node.create_publisher(PoseStamped, "tool_pose", reliable)
        self._joints = node.create_publisher(JointState, "joint_states", reliable)
        self._images = {
            camera: node.create_publisher(Image, topic, reliable) for camera, topic in CAMERA_TOPICS.items()
        }

    def publish_clock(self, now_ns: int) -> None:
        """Tell the time."""
        self._clock.publish(Clock(clock=to_time(now_ns)))

    def publish_state(self, view: RobotView) -> None:
        """Tell the time, and where tool and finger are."""
        self.publish_clock(view.stamp_ns)
        self._pose.publish(pose_message(view.pose, view.pose.frame, view.stamp_ns))
        joints = JointState(name=[FINGER_JOINT], position=[view.finger])
        joints.header.stamp = to_time(view.stamp_ns)
        self._joints.publish(joints)

    def publish_images(self, view: RobotView) -> None:
        """Show what the cameras see."""
        for camera, publisher in self._images.items():
            image = view.images.get(camera)
            if image is not None:
                publisher.publish(image_message(image, CAMERA_FRAMES[camera], view.stamp_ns))


def image_message(pixels: NDArray[np.uint8], frame: str, stamp_ns: int) -> Image:
    """``(H, W, 3)`` RGB as an rgb8 message."""
    height, width = pixels.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame
    message.data = array.array("B", pixels.tobytes())
    return message
