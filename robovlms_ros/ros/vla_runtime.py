"""Everything of the vla_node that exists only while it is configured: policy, controller, thread, topics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import String

from robovlms_ros.policy.assembly import action_frame, make_controller, model_card, settings_for
from robovlms_ros.policy.decision import ACTING, AWAITS_STATE, INTENDED, Action, ControlSettings, Hold
from robovlms_ros.policy.frames import Frame
from robovlms_ros.policy.instruction_run import Termination
from robovlms_ros.policy.policy_fit import used_cameras
from robovlms_ros.policy.policy_loader import RobotPolicy
from robovlms_ros.ros import qos
from robovlms_ros.ros.action_output import ActionOutput
from robovlms_ros.ros.camera_input import CameraInput
from robovlms_ros.ros.clock import ControlTimer, now_ns, steady_timer
from robovlms_ros.ros.inference_thread import InferenceThread
from robovlms_ros.ros.instruction_input import InstructionInput
from robovlms_ros.ros.interfaces import ActionHistory
from robovlms_ros.ros.lifecycle import ManagedNode
from robovlms_ros.ros.messages import ActionSpace, MessageError, history_window
from robovlms_ros.ros.state_input import StateInput, state_inputs

WATCH_PERIOD = 0.05
JOIN_TIMEOUT = 0.5
# The arm counts as acting for so long after an action.
ACTING_NS = 1_000_000_000


class VLARuntime:
    """Wires topics to a `Controller` and its `InferenceThread`. Made by configure, destroyed by cleanup.

    ``give_up(message)`` is called, from the inference thread, when the node should deactivate itself.
    """

    def __init__(
        self,
        node: ManagedNode,
        policy: RobotPolicy,
        values: Mapping[str, Any],
        give_up: Callable[[str], None],
        unnamed: bool = False,
    ) -> None:
        self._node = node
        self.policy = policy
        self.unnamed = unnamed
        """Whether nobody has named this model: it is the built-in one."""
        self.cameras = used_cameras(policy, values)
        profile = policy.profile
        self.space = ActionSpace(
            frame=action_frame(policy, values),
            rotation_format=profile.rotation_format,
            step_duration=profile.step_duration,
            model_id=str(policy.card["model_id"]),
        )
        self.controller = make_controller(policy, values)
        self.thread = InferenceThread(
            self.controller, lambda: now_ns(node), self._publish, self._on_dropped, self._on_exhausted
        )
        self._give_up = give_up
        self.inputs: list[CameraInput] = []
        self.state_inputs: list[StateInput] = []
        self._entities = self._create_entities(values)

    def settings(self, values: Mapping[str, Any]) -> ControlSettings:
        """Return the settings that ``values`` make. Raises ValueError where they do not fit the model."""
        return settings_for(self.policy, values)

    # -- what the node asks for

    def start(self) -> None:
        """Begin to act, with an episode in which nothing has happened yet."""
        with self.thread.condition:
            self.controller.restart()
            self.output.start()
        self.thread.start()

    def stop_arm(self, why: str) -> None:
        """Publish one stop action if the arm may be moving, and nothing after it. Safe from any thread."""
        with self.thread.condition:
            self.thread.halt()
            self._stop_once()
            self.instruction.interrupt(Termination.DEACTIVATED, why)

    def join(self) -> bool:
        """Wait for the threads, in bounded time; return whether that of the inference ended."""
        self.output.stop()
        return self.thread.join(JOIN_TIMEOUT)

    def apply(self, settings: ControlSettings) -> None:
        """Use ``settings`` from the next step on."""
        with self.thread.condition:
            if not settings.enabled:
                self._stop_once()
                self.instruction.interrupt(Termination.DISABLED, "the node was disabled")
            self.controller.apply(settings)
            self._set_pace()
            self.thread.wake()

    def reset(self) -> int:
        """Start a new episode and return its number. A goal that is running ends."""
        with self.thread.condition:
            self.instruction.interrupt(Termination.PREEMPTED, "the episode was reset")
            self.controller.new_episode()
            self.thread.wake()
            return self.controller.episode

    def destroy(self) -> None:
        """Give all entities back."""
        self._entities.close()

    # -- wiring

    def _create_entities(self, values: Mapping[str, Any]) -> ExitStack:
        """Create everything or, after an exception, nothing; what is returned destroys it."""
        node = self._node
        with ExitStack() as undo:

            def subscribe(message_type: Any, topic: str, *arguments: Any, **options: Any) -> None:
                created = node.create_subscription(message_type, topic, *arguments, **options)
                undo.callback(node.destroy_subscription, created)

            self.output = ActionOutput(node, self.space, values["overlay.rate"], self._look)
            undo.callback(self.output.destroy)
            model_info = node.create_publisher(String, "~/model_info", qos.latched())
            undo.callback(node.destroy_publisher, model_info)
            model_info.publish(String(data=json.dumps(model_card(self.policy, values))))
            for camera in self.cameras:
                self.inputs.append(CameraInput(node, camera, values, self._offer))
                undo.callback(self.inputs[-1].destroy)
            self.state_inputs += state_inputs(node, values, self.space.frame, self._offer_state)
            for state_input in self.state_inputs:
                undo.callback(state_input.destroy)
            self.instruction = InstructionInput(
                node,
                self.controller,
                self.policy.special_tokens,
                self.thread.condition,
                self._stop_once,
                self.thread.wake,
            )
            undo.callback(self.instruction.destroy)
            if values["history.source"] == "topic":
                subscribe(ActionHistory, "action_history", self._on_history, qos.actions())
            undo.callback(node.destroy_timer, steady_timer(node, WATCH_PERIOD, self._watch))
            self._control = ControlTimer(node, self._tick)
            undo.callback(self._control.destroy, node)
            self._set_pace()
            return undo.pop_all()

    def _offer(self, camera: str, frame: Frame, now: int) -> str | None:
        with self.thread.condition:
            reason = self.controller.offer(camera, frame, now)
            if reason is None:
                self.thread.wake()
        return reason

    def _offer_state(self, part: str, stamp_ns: int, numbers: NDArray[np.float64], now: int) -> str | None:
        with self.thread.condition:
            reason = self.controller.offer_state(part, stamp_ns, numbers, now)
            # Without an image that waits for it, a state of 1000 Hz must not wake the thread.
            if reason is None and self.thread.hold in AWAITS_STATE:
                self.thread.wake()
        return reason

    def _set_pace(self) -> None:
        overlap = self.controller.settings.chunk.overlap
        self._control.set_period(self.controller.step_ns if overlap else None)

    def _tick(self) -> None:
        """One step of the control rate, with overlap."""
        with self.thread.condition:
            if not self.thread.running:
                return
            result = self.controller.tick(now_ns(self._node))
            if isinstance(result, Action):
                self._publish(result)
                self.output.timing.step(starved=result.stop)
            elif result is Hold.STARVED and self.controller.sequence:
                self.output.timing.step(starved=True)
            if self.controller.inference_due:
                self.thread.wake()

    def _on_history(self, message: ActionHistory) -> None:
        try:
            window = history_window(message)
        except MessageError as error:
            self._node.get_logger().error(f"ignored an action history: {error}", throttle_duration_sec=5.0)
            with self.thread.condition:
                self.controller.counts["malformed history"] += 1
            return
        with self.thread.condition:
            self.controller.set_history(message.episode, message.sequence, window)
            if self.thread.hold is Hold.NO_HISTORY:
                self.thread.wake()

    def _watch(self) -> None:
        now = now_ns(self._node)
        with self.thread.condition:
            max_age = self.controller.settings.max_age_ns * 1e-9
            unheard = self.controller.unheard(now)
            stop = self.controller.watchdog(now)
            if stop:
                self._publish(stop)
            if self.thread.hold is Hold.NO_HISTORY:
                self.thread.wake()  # it may have waited long enough
        if stop:
            reason = Hold.UNHEARD.value if unheard else "stopped: no new action in time"
            self._node.get_logger().warning(f"the arm is {reason}")
        if self._node.lifecycle_state == "active":
            for camera in self.inputs:
                camera.watch(now, max_age)
            self._watch_timing()
            self.output.overlay.show(hold.value if (hold := self.activity()) else ACTING)

    def activity(self) -> Hold | None:
        """Why there is no action right now; None while there are."""
        now = now_ns(self._node)
        if now <= 0:
            return Hold.NO_CLOCK
        if self.controller.unheard(now):  # with no image on its way nobody has asked the controller since
            return Hold.UNHEARD
        moving = self.controller.last_action is not None and self.controller.sequence > 0
        if moving and 0 <= now - self.output.last_ns < ACTING_NS:
            return None
        if self.thread.busy_for:
            return Hold.INFERRING
        hold = self.thread.hold or Hold.NO_FRAME
        if hold is Hold.EXECUTING:  # it was; and no action came for a second
            hold = Hold.STARVED
        max_age = self.controller.settings.max_age_ns * 1e-9
        silent = any(camera.monitor.silent_for(now) > max_age for camera in self.inputs)
        return Hold.NO_FRAME if silent and hold not in INTENDED else hold

    def _watch_timing(self) -> None:
        with self.thread.condition:
            settings = self.controller.settings
            allowed = 1 / settings.rate if settings.rate else self.space.step_duration
            warning = self.output.timing.judge(allowed, settings.chunk.overlap)
        if warning:
            self._node.get_logger().warning(warning)

    # -- from the inference thread

    def _stop_once(self) -> None:
        stop = self.controller.stop(now_ns(self._node))
        if stop:
            self._publish(stop)

    def _publish(self, action: Action) -> None:
        now = self.output.publish(action, self.controller.settings)
        if not action.stop:
            self.instruction.acted(action, now)

    def _look(self, stamp_ns: int) -> NDArray[np.uint8] | None:
        return self.controller.look(stamp_ns).get(self.cameras[0])

    def _on_dropped(self, reason: str, error: Exception) -> None:
        self._node.get_logger().error(f"no action ({reason}): {error}", throttle_duration_sec=5.0)

    def _on_exhausted(self, message: str) -> None:
        with self.thread.condition:
            self.instruction.interrupt(Termination.FAILED, message)
        self._give_up(message)
