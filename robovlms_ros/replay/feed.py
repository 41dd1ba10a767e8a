"""From a bag's messages to what the node hears: decoded, counted, and told where they are odd."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.bag.file import Bag, BagError, BagMessage
from robovlms_ros.data.bag.images import COMPRESSED
from robovlms_ros.data.bag.tracks import NANOSECONDS
from robovlms_ros.policy.robot_state import StateError
from robovlms_ros.policy.state_messages import read_gripper, read_pose
from robovlms_ros.replay.images import decode_message
from robovlms_ros.replay.problems import Problems
from robovlms_ros.replay.recorded import recorded_action
from robovlms_ros.replay.recorder import Recorder
from robovlms_ros.replay.result import ImageReference
from robovlms_ros.replay.runtime import ReplayRuntime
from robovlms_ros.replay.topics import ACTION, CAMERAS, INSTRUCTION, JOINT_STATES, MODEL_INFO, TOOL_POSE


class Feed:
    """Hands the messages of a bag to ``runtime``, each at the time at which it was received.

    Args:
        bag: where they are from.
        topics: role -> topic, of `robovlms_ros.replay.topics.find_topics`.
        values: parameters of vla_node.
        frame: the frame of the actions.
        said: given by the user, the bag's instructions count for nothing.
    """

    def __init__(
        self,
        bag: Bag,
        topics: Mapping[str, str],
        values: Mapping[str, Any],
        frame: str,
        runtime: ReplayRuntime,
        recorder: Recorder,
        problems: Problems,
        start_ns: int,
    ) -> None:
        self.recorded_card: dict[str, Any] | None = None
        """The model card that the bag holds: the last one."""
        self._bag = bag
        self._values = values
        self._frame = frame
        self._runtime = runtime
        self._recorder = recorder
        self._problems = problems
        self._start_ns = start_ns
        self._numbers: Counter[str] = Counter()
        self._digest = hashlib.sha256()
        self._sizes: dict[str, tuple[int, ...]] = {}
        takers: dict[str, Callable[[BagMessage, int, Any], None]] = {
            **dict.fromkeys(CAMERAS, self._image),
            INSTRUCTION: self._say,
            TOOL_POSE: self._pose,
            JOINT_STATES: self._gripper,
            ACTION: self._action,
            MODEL_INFO: self._card,
        }
        self._roles = {topic: role for role, topic in topics.items()}
        self._takers = {topic: takers[role] for topic, role in self._roles.items()}

    @property
    def digest(self) -> str:
        """SHA-256 of what the node has heard so far: roles, times and bytes of the messages."""
        return self._digest.hexdigest()

    def take(self, message: BagMessage) -> None:
        """Let the time of a message come and hand it over."""
        if message.time_ns < self._runtime.now_ns:
            self._problems.notice(
                "order of reception",
                f"a message on {message.topic} was received before one that stands before it in the bag "
                f"({self._at(message.time_ns)}); it is heard after that",
            )
        self._runtime.advance(max(message.time_ns, self._runtime.now_ns))
        self._hand_over(message)

    def before(self, message: BagMessage) -> None:
        """Count a message that stands before the part that is replayed; a latched one is still heard."""
        if self._roles[message.topic] in (INSTRUCTION, MODEL_INFO):
            self._hand_over(message)
        else:
            self._numbers[message.topic] += 1

    def _hand_over(self, message: BagMessage) -> None:
        number = self._numbers[message.topic]
        self._numbers[message.topic] += 1
        if self._roles[message.topic] not in (ACTION, MODEL_INFO):
            self._digest.update(f"{self._roles[message.topic]} {message.time_ns} {len(message.data)}\n".encode())
            self._digest.update(message.data)
            if self._runtime.gave_up:
                return
        try:
            decoded = self._bag.decode(message)
        except BagError as error:
            self._unreadable(message, number, str(error))
            return
        self._takers[message.topic](message, number, decoded)

    def _unreadable(self, message: BagMessage, number: int, reason: str) -> None:
        self._problems.input(
            f"unreadable on {message.topic}",
            f"message {number} on {message.topic} ({self._at(message.time_ns)}) cannot be read: {reason}",
        )
        self._recorder.event(self._runtime.now_ns, "unreadable message", reason, message.topic, number)

    def _at(self, time_ns: int) -> str:
        return f"{(time_ns - self._start_ns) / NANOSECONDS:.3f} s into the bag"

    # -- one for each role

    def _image(self, message: BagMessage, number: int, image: Any) -> None:
        topic, now = message.topic, self._runtime.now_ns
        stamp = _stamp(image)
        if stamp == 0:
            stamp = now
            text = f"images on {topic} carry no stamp; their arrival is taken as capture time"
            self._problems.notice(f"no stamp on {topic}", text)
        reference = ImageReference(topic=topic, number=number, time_ns=message.time_ns, stamp_ns=stamp)
        compressed = message.type_name == COMPRESSED
        order = self._values["images.three_channel_order"]

        def decode() -> NDArray[np.uint8]:
            pixels = decode_message(image, compressed, order)
            self._note_size(reference, pixels.shape)
            return pixels

        reason = self._runtime.image(CAMERAS[self._roles[topic]], reference, decode)
        if reason:
            text = f"image {number} on {topic} ({self._at(message.time_ns)}) is dropped: {reason}"
            self._problems.notice(f"{reason} on {topic}", text)

    def _note_size(self, reference: ImageReference, shape: tuple[int, ...]) -> None:
        before = self._sizes.setdefault(reference.topic, shape)
        if shape != before:
            self._sizes[reference.topic] = shape
            self._problems.notice(
                f"size on {reference.topic}",
                f"images on {reference.topic} change their size from {before[1]}x{before[0]} to "
                f"{shape[1]}x{shape[0]} with number {reference.number} ({self._at(reference.time_ns)})",
            )

    def _say(self, message: BagMessage, number: int, text: Any) -> None:
        self._runtime.say(str(text.data))

    def _pose(self, message: BagMessage, number: int, pose: Any) -> None:
        self._state("pose", message, pose, lambda: read_pose(pose, self._frame))

    def _gripper(self, message: BagMessage, number: int, joints: Any) -> None:
        values = self._values
        joint, closed = values["state.gripper_joint"], values["state.gripper_closed"]
        self._state(
            "gripper", message, joints, lambda: read_gripper(joints, joint, closed, values["state.gripper_open"])
        )

    def _state(
        self, part: str, message: BagMessage, content: Any, read: Callable[[], NDArray[Any] | None]
    ) -> None:
        try:
            values = read()
        except StateError as error:
            self._refused_state(message, error.kind, str(error))
            return
        if values is None:
            return
        reason = self._runtime.state(part, _stamp(content) or self._runtime.now_ns, values)
        if reason:
            self._refused_state(message, reason, reason)

    def _refused_state(self, message: BagMessage, kind: str, reason: str) -> None:
        where = f"({self._at(message.time_ns)})"
        self._problems.notice(
            f"{kind} on {message.topic}", f"a message on {message.topic} {where} is refused: {reason}"
        )

    def _action(self, message: BagMessage, number: int, action: Any) -> None:
        try:
            self._recorder.recorded.append(recorded_action(action, number, message.time_ns))
        except ValueError as error:
            self._unreadable(message, number, str(error))

    def _card(self, message: BagMessage, number: int, text: Any) -> None:
        try:
            card = json.loads(text.data)
        except (ValueError, RecursionError):
            card = None
        if isinstance(card, dict):
            self.recorded_card = card
        else:
            self._problems.notice("model card", f"what {message.topic} holds is no model card")


def _stamp(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)
