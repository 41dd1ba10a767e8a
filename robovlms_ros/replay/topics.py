"""Which topic of a bag the node would have heard as what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robovlms_ros.data.bag.file import BagContents
from robovlms_ros.data.bag.images import COMPRESSED
from robovlms_ros.data.bag.options import IMAGE_TYPES, JOINTS, POSE, STRING
from robovlms_ros.data.bag.vla_action import TYPE_NAME
from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.problems import Problems

IMAGE, IMAGE_HAND, INSTRUCTION = "image", "image_hand", "instruction"
TOOL_POSE, JOINT_STATES = "tool_pose", "joint_states"
ACTION, MODEL_INFO = "action", "model_info"
CAMERAS = {IMAGE: "static", IMAGE_HAND: "hand"}


@dataclass(frozen=True)
class Role:
    """What the node calls a topic, the option that names it, and the types that it may have."""

    name: str
    option: str
    types: tuple[str, ...]


ROLES = {
    role.name: role
    for role in (
        Role(IMAGE, "--image", IMAGE_TYPES),
        Role(IMAGE_HAND, "--hand-image", IMAGE_TYPES),
        Role(INSTRUCTION, "--instruction-topic", (STRING,)),
        Role(TOOL_POSE, "--tool-pose", (POSE,)),
        Role(JOINT_STATES, "--joint-states", (JOINTS,)),
        Role(ACTION, "--action", (TYPE_NAME,)),
        Role(MODEL_INFO, "--model-info", (STRING,)),
    )
}


def find_topics(
    contents: BagContents,
    given: Mapping[str, str],
    cameras: tuple[str, ...],
    values: Mapping[str, Any],
    problems: Problems,
    instruction: str | None = None,
) -> dict[str, str]:
    """Return role -> topic for all that the node would have listened to, and for what was recorded of a run.

    Args:
        contents: the bag's.
        given: role -> topic, as the user named them; the others are found where there is no doubt.
        cameras: those that a step needs an image of.
        values: parameters of the node.
        problems: told of a hand camera that the bag lacks.
        instruction: given by the user instead of the bag's.

    Raises `ReplayError` listing what the bag has where a topic is missing or unclear.
    """
    if not sum(contents.counts.values()):
        raise ReplayError("the bag is empty: it holds no message at all")
    finder = _Finder(contents, given, values["images.transport"])
    found: dict[str, str] = {IMAGE: finder.required(IMAGE, set())}
    if "hand" in cameras:
        hand = finder.optional(IMAGE_HAND, {found[IMAGE]})
        if hand is None:
            problems.input(
                "hand camera",
                "the model takes the images of a hand camera, too, and the bag has none "
                f"(--hand-image names its topic): it holds {contents.listed()}",
            )
        else:
            found[IMAGE_HAND] = hand
    if instruction is None:
        found[INSTRUCTION] = finder.required(
            INSTRUCTION, finder.named(MODEL_INFO), " or give the instruction with --instruction TEXT"
        )
    if values["state.source"] == "topics":
        found[TOOL_POSE] = finder.required(TOOL_POSE, set())
        if values["state.gripper_joint"]:
            found[JOINT_STATES] = finder.required(JOINT_STATES, set())
    # Of what a run published, one that is not named is taken only where there is no doubt.
    for role, others in ((ACTION, set()), (MODEL_INFO, {found.get(INSTRUCTION, "")})):
        topic = finder.optional(role, others, strict=False)
        if topic is not None:
            found[role] = topic
    return found


class _Finder:
    def __init__(self, contents: BagContents, given: Mapping[str, str], transport: str) -> None:
        self._contents = contents
        self._given = given
        self._transport = transport

    def required(self, role: str, others: set[str], alternative: str = "") -> str:
        """The topic of a role. Raises `ReplayError` where there is none, or no single one."""
        topic = self.optional(role, others)
        if topic is None:
            kind = ROLES[role]
            raise ReplayError(
                f"the bag has no messages of type {' or '.join(kind.types)} for the node's topic {role!r}; name "
                f"its topic with {kind.option}{alternative}. It holds {self._contents.listed()}"
            )
        return topic

    def optional(self, role: str, others: set[str], strict: bool = True) -> str | None:
        """The topic of a role, or None. ``others`` are not meant; ``strict`` raises where several may be."""
        kind = ROLES[role]
        given = self._given.get(role)
        if given:
            return self._checked(given, kind)
        there = [name for name in self._of(kind.types) if name not in others]
        if kind.types == IMAGE_TYPES:
            there = self._of_transport(there)
        called = [name for name in there if name.rstrip("/").endswith(f"/{role}")]
        if len(called) == 1:
            return called[0]
        if role == MODEL_INFO:  # any text could be one
            return None
        if len(there) > 1 and strict:
            raise ReplayError(
                f"the bag has {len(there)} topics of type {' or '.join(kind.types)} ({', '.join(sorted(there))}); "
                f"name the one for the node's topic {role!r} with {kind.option}"
            )
        return there[0] if len(there) == 1 else None

    def named(self, role: str) -> set[str]:
        """Topics that are called as the node calls those of ``role``."""
        return {name for name in self._contents.topics if name.endswith(f"/{role}")}

    def _checked(self, topic: str, kind: Role) -> str:
        self._contents.require(topic)
        if self._contents.topics[topic] not in kind.types:
            raise ReplayError(
                f"{kind.option} {topic!r} is of type {self._contents.topics[topic]}; it must be of type "
                f"{' or '.join(kind.types)}"
            )
        return topic

    def _of(self, types: tuple[str, ...]) -> list[str]:
        contents = self._contents
        return [name for name, kind in contents.topics.items() if kind in types and contents.counts.get(name)]

    def _of_transport(self, topics: list[str]) -> list[str]:
        """Where both are there, the images as the parameter images.transport wants them."""
        compressed = [name for name in topics if self._contents.topics[name] == COMPRESSED]
        raw = [name for name in topics if name not in compressed]
        return (compressed or raw) if self._transport == "compressed" else (raw or compressed)
