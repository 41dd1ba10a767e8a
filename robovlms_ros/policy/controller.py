"""One control step without ROS: newest frames, an instruction and a time in; an action or a reason why not out.

``Controller`` owns everything that decides whether an action may leave: instruction, episode and sequence
counters, freshness, the output watchdog and the run of failures. A step has three parts, so that a node can
hold its lock for the first and the last and run the slow one without it:

    plan(now)       what to infer from, or a Hold        lock
    infer(request)  decode, model, check                 no lock; always the same thread
    commit(...)     still wanted? limit, number          lock

``step`` is the three in a row, for bag replay and tests. Times are nanoseconds of the ROS clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.decision import Action, ControlSettings, Hold, Profile, Request
from robovlms_ros.policy.episode import Episode
from robovlms_ros.policy.frames import Frame, FrameBuffer
from robovlms_ros.policy.limiting import as_predicted, limit_chunk
from robovlms_ros.policy.robot_state import RobotStates
from robovlms_ros.policy.safety import ACTION_DIM, GRIPPER, check_chunk
from robovlms_ros.policy.types import ActionChunk, HistoryWindow, Observation, Session

# Threads read the clock before they take the lock, so now may appear to go back by less than this.
CLOCK_JUMP_NS = 100_000_000
# Camera stamps jitter; a frame this much before it is due is on time.
RATE_TOLERANCE_NS = 1_000_000


class Controller:
    """Decides, step by step, what an arm is told. Not thread-safe; see the module on locking.

    ``make_session(execute_horizon)`` starts a session of the policy, ``profile`` is that policy's, ``cameras`` are
    those that a step needs an image of. ``internal_history`` keeps the executed actions here instead of taking
    them from ``set_history``. ``states`` are the robot's, offered to ``offer_state``; with ``needs_state`` nothing
    is inferred without one.
    """

    def __init__(
        self,
        make_session: Callable[[int], Session],
        profile: Profile,
        cameras: Sequence[str],
        settings: ControlSettings,
        *,
        sync_slop_ns: int = 50_000_000,
        history_length: int = 16,
        internal_history: bool = True,
        states: RobotStates | None = None,
        needs_state: bool = False,
    ) -> None:
        self._make_session = make_session
        self._profile = profile
        self._frames = FrameBuffer(cameras, sync_slop_ns)
        self._episode = Episode(history_length, internal_history)
        self._states = states or RobotStates()
        self._needs_state = needs_state

        self.settings = settings
        self.instruction: str | None = None
        self.failures = 0
        self.counts: Counter[str] = Counter()
        """Frames and results that gave no action, by reason."""
        self.last_action: Action | None = None
        """Newest published action; None where the arm has nothing to be stopped from."""

        self._now_ns = 0
        self._due_ns = 0
        self._moved_ns = 0
        self._session: Session | None = None
        self._session_key: tuple[int, int] | None = None
        self._step_index = 0
        self._chunk_size = 1

    @property
    def episode(self) -> int:
        """Number of the episode; a reset or another instruction begins the next."""
        return self._episode.number

    @property
    def sequence(self) -> int:
        """How many actions the episode has had, which is the number of the next."""
        return self._episode.sequence

    @property
    def received_history(self) -> tuple[int, int] | None:
        """Episode and newest row's number of the window that ``set_history`` was given last, if any."""
        return self._episode.received

    # -- inputs

    @property
    def overtaken(self) -> int:
        """Frames that a newer one replaced before they could be used."""
        return self._frames.overtaken

    def offer(self, camera: str, frame: Frame, now_ns: int) -> str | None:
        """Take a frame of ``camera``; return None, or the reason why it is dropped (counted)."""
        self.observe_clock(now_ns)
        if frame.stamp_ns > now_ns + self.settings.future_tolerance_ns:
            reason: str | None = "future stamp"
        else:
            reason = self._frames.offer(camera, frame)
        if reason:
            self.counts[reason] += 1
        return reason

    def offer_state(self, part: str, stamp_ns: int, values: NDArray[np.float64], now_ns: int) -> str | None:
        """Take a sample of a part of the robot's state; return None, or the reason why it is dropped (counted)."""
        self.observe_clock(now_ns)
        if stamp_ns > now_ns + self.settings.future_tolerance_ns:
            reason: str | None = "future state"
        else:
            reason = self._states.offer(part, stamp_ns, values)
        if reason:
            self.counts[reason] += 1
        return reason

    def set_instruction(self, instruction: str) -> bool:
        """Take a cleaned instruction, "" to stop; return whether it changed, which starts a new episode.

        On "stop", take the stop action (``stop``) before this: it belongs to the episode that it ends.
        """
        if instruction == (self.instruction or ""):
            changed = instruction != self.instruction
            self.instruction = instruction
            return changed
        if self.instruction:
            self.new_episode()
        self.instruction = instruction
        return True

    def set_history(self, episode: int, sequence: int, window: HistoryWindow) -> None:
        """Take the window of the history node; ``sequence`` is the number of its newest row."""
        self._episode.receive(episode, sequence, window)

    def new_episode(self) -> None:
        """Forget the episode: model memory, chunk, history, numbering. A running inference becomes obsolete."""
        self._episode.next()
        self._due_ns = 0

    def restart(self) -> None:
        """Begin anew after a pause: a new episode, unless nothing has happened in this one."""
        self.failures = 0
        if self.sequence or (self._session_key and self._session_key[0] == self.episode):
            self.new_episode()

    def observe_clock(self, now_ns: int) -> bool:
        """Note the time; a jump back (a bag that loops) starts an episode and disarms the watchdog."""
        jumped = now_ns < self._now_ns - CLOCK_JUMP_NS
        if jumped:
            self.counts["clock jump"] += 1
            self._frames.clear()
            self._states.clear()
            self.last_action = None
            self.new_episode()
            self._now_ns = now_ns
        self._now_ns = max(self._now_ns, now_ns)
        return jumped

    # -- one step

    def plan(self, now_ns: int) -> Request | Hold:
        """Choose what to infer from now; the frames chosen count as used, unless the robot's state is awaited."""
        self.observe_clock(now_ns)
        if now_ns <= 0:
            return Hold.NO_CLOCK
        if not self.settings.enabled:
            return Hold.DISABLED
        if not self.instruction:
            return Hold.NO_INSTRUCTION if self.instruction is None else Hold.STOPPED
        chosen = self._frames.newest()
        if chosen is None:
            return Hold.UNMATCHED if self._frames.unmatched() else Hold.NO_FRAME
        if chosen.stamp_ns + RATE_TOLERANCE_NS < self._due_ns:
            return Hold.NOT_DUE
        if now_ns - chosen.stamp_ns > self.settings.max_age_ns:
            self._frames.use(chosen)
            self.counts["stale image"] += 1
            return Hold.STALE
        state = self._states.at(chosen.stamp_ns)
        if state is None and self._needs_state:
            return Hold.NO_STATE
        if self._lost(now_ns):
            return Hold.NO_POSE
        self._frames.use(chosen)
        self._advance_due(chosen.stamp_ns)
        return Request(
            self.episode, chosen, self.instruction, self._episode.history(), self.settings.execute_horizon, state
        )

    def infer(self, request: Request) -> ActionChunk:
        """Run the policy on ``request``. Touches nothing but the session, so it needs no lock.

        Raises FrameError for an image, ActionError for an output that must not be used, and whatever the
        policy raises. After anything but a FrameError call ``failed``.
        """
        images = {camera: frame.decode() for camera, frame in request.chosen.frames.items()}
        key = (request.episode, request.execute_horizon)
        if self._session is None or self._session_key is None or self._session_key[1] != key[1]:
            self._session = self._make_session(request.execute_horizon)
        if self._session_key != key:
            self._session.reset()
            self._session_key = key
        observation = Observation(images, request.instruction, request.state, request.history)
        chunk = self._session.step(observation)
        check_chunk(chunk)
        return chunk

    def commit(self, request: Request, chunk: ActionChunk, now_ns: int) -> Action | Hold:
        """Turn a result into the action to publish, unless the world moved on while it was computed."""
        self.observe_clock(now_ns)
        if request.episode != self.episode or not self.settings.enabled:
            self.counts["superseded during inference"] += 1
            return Hold.OBSOLETE
        self.failures = 0
        if self._lost(now_ns):
            self.counts["no tool pose"] += 1
            return Hold.NO_POSE
        limited = limit_chunk(
            chunk,
            self._profile,
            self.settings.limits,
            position=self._states.position(now_ns),
            orientation=self._profile.orientation(request.state),
        )
        # By contract the timings are empty where the session only went on with the last chunk.
        fresh = request.execute_horizon == 1 or bool(chunk.timings)
        self._step_index = 0 if fresh else self._step_index + 1
        self._chunk_size = len(chunk) if fresh else self._chunk_size
        action = Action(
            stamp_ns=request.chosen.stamp_ns,
            episode=self.episode,
            sequence=self.sequence,
            instruction=request.instruction,
            action=limited.actions[0],
            normalized=limited.normalized[0],
            saturated=int(limited.saturated[0]),
            step_index=self._step_index,
            chunk_size=self._chunk_size,
            chunk=limited if fresh else None,
            timings=chunk.timings,
        )
        self._episode.record(action)
        self.last_action, self._moved_ns = action, now_ns
        return action

    def step(self, now_ns: int) -> Action | Hold:
        """Plan, infer and commit at one moment; errors of ``infer`` pass through, already counted."""
        request = self.plan(now_ns)
        if isinstance(request, Hold):
            return request
        return self.commit(request, self.infer(request), now_ns)

    def failed(self, request: Request, reason: str) -> bool:
        """Count a failed inference; return True where so many came in a row that the node must give up.

        The model's memory may hold what made it fail, so the episode starts again.
        """
        self.counts[reason] += 1
        self.failures += 1
        if request.episode == self.episode:
            self.new_episode()
        return self.failures >= self.settings.max_failures

    # -- stopping

    def stop(self, now_ns: int) -> Action | None:
        """Return one stop action (no motion, gripper held) if the last action was motion, else None."""
        moving, self.last_action = self.last_action, None
        if moving is None:
            return None
        action = np.zeros(ACTION_DIM)
        action[GRIPPER] = moving.action[GRIPPER]
        # No motion is none in any orientation.
        normalized = as_predicted(action[None], self._profile, np.zeros(3))[0]
        stop = Action(now_ns, self.episode, self.sequence, moving.instruction, action, normalized, stop=True)
        self._episode.record(stop)
        return stop

    def watchdog(self, now_ns: int) -> Action | None:
        """Return a stop action, once, when no new action came for the time that the settings allow."""
        self.observe_clock(now_ns)
        timeout = self.settings.watchdog_ns
        if not timeout or self.last_action is None or now_ns - self._moved_ns <= timeout:
            return None
        self.counts["watchdog stop"] += 1
        return self.stop(now_ns)

    def _lost(self, now_ns: int) -> bool:
        """Whether there is a workspace to keep the tool in, and nobody knows where the tool is."""
        return self.settings.limits.workspace is not None and self._states.position(now_ns) is None

    def _advance_due(self, stamp_ns: int) -> None:
        """Pace along a grid, so that jitter of the stamps does not lower the rate."""
        if self.settings.rate <= 0.0:
            self._due_ns = 0
            return
        period = round(1e9 / self.settings.rate)
        on_grid = stamp_ns - self._due_ns < period
        self._due_ns = (self._due_ns if on_grid else stamp_ns) + period
