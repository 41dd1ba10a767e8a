"""How a bag is read: which topics hold what, and how their numbers are meant."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from robovlms_ros.data.bag.file import BagContents, BagError
from robovlms_ros.data.bag.vla_action import TYPE_NAME
from robovlms_ros.data.episodes import RotationFormat

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
TWIST, POSE = "geometry_msgs/msg/TwistStamped", "geometry_msgs/msg/PoseStamped"
ACTION_TYPES = (TYPE_NAME, TWIST, POSE)
STRING = "std_msgs/msg/String"
JOINTS = "sensor_msgs/msg/JointState"
ARRAYS = ("std_msgs/msg/Float64MultiArray", "std_msgs/msg/Float32MultiArray")
NUMBERS = ("std_msgs/msg/Float64", "std_msgs/msg/Float32", "std_msgs/msg/Bool")
GRIPPER_TYPES = (JOINTS, *ARRAYS, *NUMBERS)


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GripperOptions(_Options):
    """Where the gripper's opening is, for recordings without ``VLAAction``, and for states."""

    topic: str = ""
    """Empty: the opening is always ``initial``."""
    joint: str = ""
    """Name of the joint in a JointState, or the place in an array, from 0."""
    closed: float = 0.0
    open: float = 1.0
    """The recorded numbers that mean closed and open; ``open`` may be the smaller one."""
    initial: float | None = Field(default=None, ge=0, le=1)
    """Opening before the first message; without it those steps are left out."""

    @model_validator(mode="after")
    def _different(self) -> GripperOptions:
        if self.closed == self.open:
            raise ValueError(f"closed and open are both {self.closed}; give the two numbers that the topic has")
        return self


class BagOptions(_Options):
    """Topics (empty = the only one of its kind in the bag) and units; durations in seconds."""

    image: str = ""
    hand_image: str = ""
    """Empty: there is no hand camera."""
    action: str = ""
    instruction: str = ""
    """What the robot was told, where the recording does not say it."""
    instruction_topic: str = ""
    state: str = ""
    """A PoseStamped topic with the tool's pose; empty: episodes have no states."""
    gripper: GripperOptions = GripperOptions()
    frame: str = ""
    """Name of the actions' frame; empty: as recorded."""
    rotation_format: RotationFormat | None = None
    """Of the actions; None: as recorded, rpy for topics other than VLAAction."""
    rate: float | None = Field(default=None, gt=0)
    """Steps per second for topics other than VLAAction; None: one for each image."""
    slop: float = Field(default=0.05, ge=0)
    """An image or a pose belongs to a step if its stamp is this near; VLAAction's own images are found exactly."""
    max_gap: float | None = Field(default=None, gt=0)
    """A pause longer than this ends an episode; None: three usual periods."""
    command_timeout: float = Field(default=0.25, gt=0)
    """A velocity counts for no longer than this."""
    three_channel_order: str = Field(default="bgr", pattern="^(bgr|rgb)$")
    """What images of the generic encoding 8UC3 hold."""


class BagTopics(_Options):
    """The topics of one bag, found and checked."""

    images: dict[str, str]
    """Camera -> topic."""
    action: str
    action_type: str
    instruction: str | None
    state: str | None
    gripper: str | None
    gripper_type: str = ""

    @property
    def small(self) -> set[str]:
        """Topics that are read whole."""
        return {self.action} | {topic for topic in (self.instruction, self.state, self.gripper) if topic}


def find_topics(contents: BagContents, options: BagOptions) -> BagTopics:
    """Which topic of a bag is what. Raises `BagError` listing what the bag has where one is missing or unclear."""
    action = _topic(contents, "action", options.action, ACTION_TYPES, TYPE_NAME)
    images = {"static": _topic(contents, "image", options.image, IMAGE_TYPES)}
    if options.hand_image:
        images["hand"] = _topic(contents, "hand-image", options.hand_image, IMAGE_TYPES)
    named = {
        "instruction": ("instruction-topic", options.instruction_topic, (STRING,)),
        "state": ("state", options.state, (POSE,)),
        "gripper": ("gripper", options.gripper.topic, GRIPPER_TYPES),
    }
    found = {
        key: _topic(contents, option, topic, types) if topic else None
        for key, (option, topic, types) in named.items()
    }
    action_type = contents.topics[action]
    if action_type != TYPE_NAME:
        if options.gripper.initial is None and not options.gripper.topic:
            raise BagError(
                f"{action!r} says nothing about the gripper: name its topic with --gripper, or give the opening "
                f"that it always has with --gripper-initial 1; the bag holds {contents.listed()}"
            )
        if not options.instruction and not options.instruction_topic:
            raise BagError(
                f"{action!r} says nothing about the instruction: give it with --instruction TEXT, or name its "
                f"topic with --instruction-topic; the bag holds {contents.listed()}"
            )
    gripper_type = contents.topics[found["gripper"]] if found["gripper"] else ""
    return BagTopics(images=images, action=action, action_type=action_type, gripper_type=gripper_type, **found)


def _topic(contents: BagContents, option: str, topic: str, types: tuple[str, ...], *automatic: str) -> str:
    """``topic``, or the only one of the types ``automatic`` (or else ``types``) where it is empty."""
    if topic:
        contents.require(topic)
        if contents.topics[topic] not in types:
            raise BagError(
                f"--{option} {topic!r} is a {contents.topics[topic]}; it must be one of {', '.join(types)}"
            )
        return topic
    wanted = automatic or types
    there = [name for name, kind in contents.topics.items() if kind in wanted and contents.counts.get(name)]
    if len(there) != 1:
        what = "no topic" if not there else f"{len(there)} topics ({', '.join(sorted(there))})"
        raise BagError(
            f"the bag has {what} of type {' or '.join(wanted)}; name one with --{option}. It holds "
            f"{contents.listed()}"
        )
    return there[0]
