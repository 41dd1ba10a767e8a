"""A policy on the tabletop in one process, by the way that it takes through the ROS graph, without the graph.

What decides there decides here: the controller of vla_node, the ring of action_history_node, the bridge of
arm_bridge_node and the robot of sim_node, in lock step. Messages between them carry numbers of 64 bits, or of 32
where they are rounded here too, so that an episode over DDS is the same as this one, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.arm_bridge import ArmBridge, BridgeSettings, Commands, in_lock_step
from robovlms_ros.policy.arm_command import ArmAction, make_pose
from robovlms_ros.policy.arm_outputs import GripperSettings
from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.decision import Action, ControlSettings, Profile, Request
from robovlms_ros.policy.frames import Frame
from robovlms_ros.policy.instruction import clean_instruction
from robovlms_ros.policy.robot_state import RobotStates, gripper_opening, tool_pose
from robovlms_ros.policy.safety import GRIPPER, ROTATION, TRANSLATION, Limits
from robovlms_ros.policy.types import ActionChunk, Session
from robovlms_ros.policy.workspace import Workspace
from robovlms_ros.sim.environment import TabletopEnvironment
from robovlms_ros.sim.robot import ArmCommand, RobotView, TabletopRobot
from robovlms_ros.sim.scene import FINGER_TRAVEL
from robovlms_ros.sim.tasks import Task

Array = NDArray[np.float64]

# As in config/tabletop.yaml; a test compares them.
BRIDGE_LIMITS = (0.7, 3.5)
HISTORY_LENGTH = 16
# state.max_age: in lock step only the state of the image will do, otherwise also one of the step before.
_MATCHED_NS, _STATE_NS = 1_000_000, 200_000_000


class LoopProfile(Profile, Protocol):
    """What is needed of the robot profile of a policy."""

    @property
    def frame(self) -> str:
        """Frame of the actions."""

    @property
    def rotation_format(self) -> str:
        """``"rpy"`` or ``"axis_angle"``."""

    @property
    def limits(self) -> _LimitPair:
        """Largest motion of one action."""

    @property
    def workspace(self) -> _Box | None:
        """A box in ``frame`` that the tool must not leave."""


class _LimitPair(Protocol):
    @property
    def translation(self) -> float: ...

    @property
    def rotation(self) -> float: ...


class _Box(Protocol):
    @property
    def min(self) -> Sequence[float]: ...

    @property
    def max(self) -> Sequence[float]: ...


class LoopPolicy(Protocol):
    """What is needed of a policy: `robovlms_ros.policy.VLAPolicy` is one."""

    @property
    def profile(self) -> LoopProfile:
        """The robot that it was trained for."""

    @property
    def cameras(self) -> Sequence[str]:
        """Names of the cameras that it takes."""

    @property
    def special_tokens(self) -> Sequence[str]:
        """Texts that an instruction must not contain."""

    def session(self, execute_horizon: int = 1) -> Session:
        """A new episode."""


@dataclass(frozen=True)
class LoopSettings:
    """What a user of the nodes chooses by parameters. ``output`` is the bridge's: "twist" or "pose".

    With ``chunk.overlap`` the arm acts at every step while the model works: an inference takes ``delay_ns`` of
    simulated time. Without, simulated time stands still meanwhile and ``delay_ns`` must be 0.
    """

    chunk: ChunkSettings = field(default_factory=ChunkSettings)
    output: str = "twist"
    delay_ns: int = 0
    history_length: int = HISTORY_LENGTH

    def __post_init__(self) -> None:
        if self.delay_ns < 0 or (self.delay_ns and not self.chunk.overlap):
            raise ValueError(
                "delay_ns is the time of an inference beside which the arm acts: set chunk.overlap, or leave it 0"
            )


@dataclass(frozen=True)
class EpisodeResult:
    """One episode. ``actions``: ``(T, 7)``, what the environment was told. ``latencies``: seconds per inference.

    ``idle`` steps were those without an action of the policy: before the first chunk came, or between two.
    """

    seed: int
    task: Task
    instruction: str
    succeeded: bool
    steps: int
    actions: Array
    latencies: tuple[float, ...]
    idle: int = 0


class ClosedLoop:
    """Runs ``policy`` on ``environment``, episode by episode. Every episode is independent of those before."""

    def __init__(
        self, policy: LoopPolicy, environment: TabletopEnvironment, settings: LoopSettings | None = None
    ) -> None:
        self.robot = TabletopRobot(environment)
        self._policy, self._settings = policy, settings or LoopSettings()

    def run(
        self,
        seed: int,
        task: Task | None = None,
        instruction: str | None = None,
        watch: Callable[[RobotView], object] = lambda view: None,
        most: int | None = None,
    ) -> EpisodeResult:
        """The episode of ``seed``, from beginning to end; see `TabletopEnvironment.reset`.

        ``watch`` is called with every view that is acted on, before the action. After ``most`` steps it is left.

        Raises ValueError for an ``instruction`` that is empty, on which no node would act.
        """
        view = self.robot.reset(seed, task, instruction)
        environment = self.robot.environment
        episode = _Episode(self._policy, self._settings, environment.instruction)
        while not self.robot.finished and (most is None or environment.steps < most):
            watch(view)
            view = self.robot.step(episode.command(view))
        return EpisodeResult(
            seed=seed,
            task=environment.task,
            instruction=environment.instruction,
            succeeded=environment.succeeded,
            steps=environment.steps,
            actions=np.array(self.robot.executed),
            latencies=tuple(episode.latencies),
            idle=episode.idle,
        )


class _Episode:
    """The nodes between a robot's view and its command, for one episode."""

    def __init__(self, policy: LoopPolicy, settings: LoopSettings, instruction: str) -> None:
        self.latencies: list[float] = []
        self.idle = 0
        self._profile, self._cameras, self._settings = policy.profile, policy.cameras, settings
        text = clean_instruction(instruction, policy.special_tokens)
        if not text:
            raise ValueError("an empty instruction means stop: say something, if only 'pick up the block'")
        self._controller = Controller(
            policy.session,
            policy.profile,
            policy.cameras,
            ControlSettings(chunk=settings.chunk, limits=profile_limits(policy.profile), watchdog_ns=0),
            history_length=settings.history_length,
            states=RobotStates(["pose", "gripper"], _STATE_NS if settings.chunk.overlap else _MATCHED_NS),
            needs_state=True,
        )
        self._controller.follow(text)
        self._bridge = ArmBridge(bridge_settings(settings.output))
        self._running: tuple[Request, ActionChunk, int] | None = None

    def command(self, view: RobotView) -> ArmCommand:
        """Let one step pass on what the robot shows."""
        now_ns = view.stamp_ns
        self._finish_until(now_ns)
        self._look(view)
        action = self._act(now_ns)
        if action is None:
            self.idle += 1
            return ArmCommand()
        return arm_command(self._bridge.offer(arm_action(action, self._profile), now_ns))

    def _look(self, view: RobotView) -> None:
        now_ns, place = view.stamp_ns, view.pose.position.tolist()
        finger = gripper_opening(view.finger, 0.0, FINGER_TRAVEL)
        pose = tool_pose(place, view.pose.quaternion.tolist())
        self._controller.offer_state("pose", now_ns, pose, now_ns)
        self._controller.offer_state("gripper", now_ns, finger, now_ns)
        measured = make_pose(view.pose.frame, place, view.pose.quaternion.tolist())
        self._bridge.offer_tool(measured, now_ns, now_ns)
        for camera in self._cameras:
            image = view.images.get(camera)
            if image is None:
                raise ValueError(f"the policy takes camera {camera!r}: make the environment with an image_size")
            self._controller.offer(camera, Frame(now_ns, lambda image=image: image), now_ns)  # type: ignore[misc]

    def _act(self, now_ns: int) -> Action | None:
        if not self._settings.chunk.overlap:
            request = self._controller.plan(now_ns)
            if not isinstance(request, Request):
                raise RuntimeError(f"the loop does not go on: {request.value}")
            return self._acted(self._controller.commit(request, self._infer(request), now_ns))
        self._begin(now_ns)
        self._finish_until(now_ns)
        return self._acted(self._controller.tick(now_ns))

    def _acted(self, result: object) -> Action | None:
        return result if isinstance(result, Action) else None

    def _begin(self, now_ns: int) -> None:
        """Begin an inference if the controller has one to make; its answer comes after the delay."""
        if self._running is None:
            request = self._controller.plan(now_ns)
            if isinstance(request, Request):
                self._running = request, self._infer(request), now_ns + self._settings.delay_ns

    def _finish_until(self, now_ns: int) -> None:
        """Take the answers that have come by now; the next inference begins when one has."""
        while self._running is not None and self._running[2] <= now_ns:
            request, chunk, done_ns = self._running
            self._running = None
            self._controller.commit(request, chunk, done_ns)
            self._begin(done_ns)

    def _infer(self, request: Request) -> ActionChunk:
        started = time.perf_counter()
        chunk = self._controller.infer(request)
        if chunk.timings:  # by contract: the model has run
            self.latencies.append(time.perf_counter() - started)
        return chunk


def profile_limits(profile: LoopProfile) -> Limits:
    """The limits of a robot profile, as vla_node applies them where no parameter says otherwise."""
    box = profile.workspace
    workspace = None if box is None else Workspace.of_numbers([*box.min, *box.max])
    return Limits(profile.limits.translation, profile.limits.rotation, workspace)


def bridge_settings(output: str) -> BridgeSettings:
    """The settings of the bridge in lock step: config/tabletop_lock_step.yaml says the same, and a test so."""
    linear, angular = BRIDGE_LIMITS
    return in_lock_step(
        BridgeSettings(
            outputs=frozenset({output, "gripper"}),
            gripper=GripperSettings(closed=(0.0,), opened=(FINGER_TRAVEL,)),
            linear=linear,
            angular=angular,
        )
    )


def arm_action(action: Action, profile: LoopProfile) -> ArmAction:
    """An action as arm_bridge_node receives it, after the message that rounds the gripper's opening."""
    return ArmAction(
        stamp_ns=action.stamp_ns,
        frame=profile.frame,
        translation=action.action[TRANSLATION],
        rotation=action.action[ROTATION],
        rotation_format=profile.rotation_format,
        opening=float(np.float32(action.action[GRIPPER])),
        step_ns=round(profile.step_duration * 1e9),
        sequence=action.sequence,
        episode=action.episode,
        step_index=action.step_index,
    )


def arm_command(commands: Commands) -> ArmCommand:
    """What the bridge sends, as the robot takes it: a target's quaternion is brought to length 1 on arrival."""
    finger = None if commands.gripper is None else commands.gripper[0]
    pose = commands.pose
    target = pose and make_pose(pose.frame, pose.position.tolist(), pose.quaternion.tolist())
    return ArmCommand(commands.twist, target, finger)
