"""One control step without ROS: newest frames, an instruction and a time in; an action or a reason why not out.

``Controller`` owns everything that decides whether an action may leave: instruction, episode, freshness, the
schedule of predicted chunks, the output watchdog and the run of failures. An inference has three parts, so that a
node can hold its lock for the first and the last and run the slow one without it:

    plan(now)       what to infer from, or a Hold        lock
    infer(request)  decode, model, check                 no lock; always the same thread
    commit(...)     still wanted? limit, number          lock

Paced by images, ``commit`` gives the action that answers the image. With overlap (`ChunkSettings`) it only puts
the chunk on the schedule, and ``tick(now)``, called at the control rate under the lock, gives one action for each
step, also while the next inference runs. ``step`` is plan, infer and commit in a row, for bag replay and tests.
Nothing here reads a clock: times are nanoseconds of the ROS clock, and given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.decision import Action, ControlSettings, Hold, Profile, Request
from robovlms_ros.policy.episode import Episode, HistoryLag
from robovlms_ros.policy.execution import Execution
from robovlms_ros.policy.frames import Frame, FrameBuffer
from robovlms_ros.policy.inference import Inference
from robovlms_ros.policy.inputs import Inputs
from robovlms_ros.policy.mandate import Mandate
from robovlms_ros.policy.output import Moment
from robovlms_ros.policy.robot_state import RobotStates
from robovlms_ros.policy.types import ActionChunk, HistoryWindow, Session

# Threads read the clock before they take the lock, so now may appear to go back by less than this.
CLOCK_JUMP_NS = 100_000_000


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
        self.failures = 0
        self.counts: Counter[str] = Counter()
        """Frames, results and steps that gave no action, by reason."""
        self._settings = settings
        self._profile_step_ns = round(1e9 * profile.step_duration)
        frames = FrameBuffer(cameras, sync_slop_ns)
        self._inputs = Inputs(frames, states or RobotStates(), needs_state, self.counts)
        self._mandate = Mandate()
        self._inference = Inference(make_session)
        self._episode = Episode(history_length, internal_history)
        self._execution = Execution(profile, self._episode, self.counts)
        self._schedule, self._output = self._execution.schedule, self._execution.output

        self._now_ns = 0
        self._generation = 0
        self._interruption = 0

    @property
    def instruction(self) -> str | None:
        """What the arm is asked to do, "" to stop; None before the first."""
        return self._mandate.instruction

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

    @property
    def history_lag(self) -> HistoryLag:
        """How far the windows from ``set_history`` were behind when they were used."""
        return self._episode.lag

    @property
    def last_action(self) -> Action | None:
        """Newest published action that moves; None where the arm has nothing to be stopped from."""
        return self._output.last_action

    @property
    def overtaken(self) -> int:
        """Frames that a newer one replaced before they could be used."""
        return self._inputs.overtaken

    # -- settings

    @property
    def settings(self) -> ControlSettings:
        """What the next step goes by."""
        return self._settings

    def apply(self, settings: ControlSettings) -> None:
        """Go by ``settings`` from now on. Where they end what was planned, nothing of it leaves any more.

        Take the stop action (``stop``) before this where they disable.
        """
        before, self._settings = self._settings, settings
        chunk_before, chunk = before.chunk, settings.chunk
        paced_anew = (chunk_before.mode, chunk_before.overlap) != (chunk.mode, chunk.overlap)
        if paced_anew or (before.enabled and not settings.enabled):
            self._discard_plans()

    @property
    def step_ns(self) -> int:
        """Time of one step: that of the rate, where one is set, else the robot profile's."""
        rate = self._settings.rate
        return round(1e9 / rate) if rate > 0.0 else self._profile_step_ns

    # -- inputs

    def offer(self, camera: str, frame: Frame, now_ns: int) -> str | None:
        """Take a frame of ``camera``; return None, or the reason why it is dropped (counted)."""
        self.observe_clock(now_ns)
        return self._inputs.offer(camera, frame, now_ns + self._settings.future_tolerance_ns)

    def offer_state(self, part: str, stamp_ns: int, values: NDArray[np.float64], now_ns: int) -> str | None:
        """Take a sample of a part of the robot's state; return None, or the reason why it is dropped (counted)."""
        self.observe_clock(now_ns)
        return self._inputs.offer_state(part, stamp_ns, values, now_ns + self._settings.future_tolerance_ns)

    def set_instruction(self, instruction: str, now_ns: int | None = None) -> bool:
        """Take a cleaned instruction, "" to stop; return whether it changed, which starts a new episode.

        ``now_ns`` is when it was heard (None: at the newest time seen); see ``hear_instruction``. On "stop", take
        the stop action (``stop``) before this: it belongs to the episode that it ends.
        """
        self.hear_instruction(self._now_ns if now_ns is None else now_ns)
        before = self._mandate.take(instruction)
        if before and instruction != before:
            self.new_episode()
        return instruction != before

    def hear_instruction(self, now_ns: int) -> None:
        """Note that the instruction was heard again, which keeps it alive where settings give it a maximum age."""
        if self.unheard(now_ns):
            self._discard_plans()  # made before the silence, or in it
        self._mandate.hear(now_ns)

    def unheard(self, now_ns: int) -> bool:
        """Whether the instruction was not heard for longer than the settings allow."""
        return self._mandate.unheard(now_ns, self._settings.instruction_max_age_ns)

    def follow(self, instruction: str, at_most: int | None = None, now_ns: int | None = None) -> None:
        """Take a cleaned instruction for ``at_most`` actions, in an episode of its own even if it is no other."""
        if not self.set_instruction(instruction, now_ns):
            self.restart()
        self._mandate.actions_left = at_most

    def set_history(self, episode: int, sequence: int, window: HistoryWindow) -> None:
        """Take the window of the history node; ``sequence`` is the number of its newest row."""
        self._episode.receive(episode, sequence, window)

    def new_episode(self) -> None:
        """Forget the episode: model memory, chunks, history, numbering. A running inference becomes obsolete."""
        self._discard_plans()
        self._episode.next()
        self._inputs.restart_pace()

    def restart(self) -> None:
        """Begin anew after a pause: a new episode, unless nothing has happened in this one."""
        self.failures = 0
        if self.sequence or self._inference.episode == self.episode:
            self.new_episode()

    def observe_clock(self, now_ns: int) -> bool:
        """Note the time; a jump back (a bag that loops) starts an episode and disarms the watchdog."""
        jumped = now_ns < self._now_ns - CLOCK_JUMP_NS
        if jumped:
            self.counts["clock jump"] += 1
            self._inputs.clear()
            self._output.last_action = None
            self.new_episode()
            self._now_ns = now_ns
            self._mandate.clock_jumped(now_ns)
        self._now_ns = max(self._now_ns, now_ns)
        return jumped

    # -- one inference

    @property
    def inference_due(self) -> bool:
        """Whether the next frame is to be inferred from; with overlap not before enough of a chunk is past."""
        chunk = self._settings.chunk
        return not chunk.overlap or self._schedule.due(chunk)

    def plan(self, now_ns: int) -> Request | Hold:
        """Choose what to infer from now; the frames chosen count as used, unless the robot's state is awaited."""
        self.observe_clock(now_ns)
        barred = self._mandate.barred(now_ns, self._settings)
        if barred:
            return barred
        if not self.inference_due:
            return Hold.EXECUTING
        wait_ns = self._settings.history_wait_ns
        if wait_ns and self._episode.history_behind and self._output.acted_within(now_ns, wait_ns):
            return Hold.NO_HISTORY
        found = self._inputs.choose(now_ns, self._settings)
        if isinstance(found, Hold):
            return found
        chosen, state = found
        return Request(
            self.episode,
            chosen,
            self.instruction or "",
            self._episode.history(),
            self._settings.chunk.session_horizon,
            state,
            generation=self._generation,
            interruption=self._interruption,
            waited_ns=now_ns - chosen.stamp_ns,
        )

    def infer(self, request: Request) -> ActionChunk:
        """Run the policy on ``request``. Touches nothing but the session, so it needs no lock.

        Raises FrameError for an image, ActionError for an output that must not be used, and whatever the
        policy raises. After anything but a FrameError call ``failed``.
        """
        return self._inference.run(request)

    def look(self, stamp_ns: int) -> Mapping[str, NDArray[np.uint8]]:
        """The images, by camera, from which an action of late with this stamp was inferred; needs no lock."""
        return self._inference.look(stamp_ns)

    def commit(self, request: Request, chunk: ActionChunk, now_ns: int) -> Action | Hold:
        """Turn a result into the action to publish, unless the world moved on while it was computed.

        With overlap the chunk goes to the schedule, for ``tick``: `Hold.EXECUTING`.
        """
        self.observe_clock(now_ns)
        if request.generation != self._generation or self._mandate.barred(now_ns, self._settings):
            self.counts["superseded during inference"] += 1
            return Hold.OBSOLETE
        timeout = self._settings.inference_timeout_ns
        if timeout and now_ns - request.chosen.stamp_ns - request.waited_ns > timeout:
            self.counts["answer of a hung inference"] += 1
            return Hold.HUNG
        self.failures = 0
        if self._inputs.lost(now_ns, self._settings):
            self.counts["no tool pose"] += 1
            return Hold.NO_POSE
        return self._spent(self._execution.answer(request, chunk, self._moment(now_ns)))

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
        return self.failures >= self._settings.max_failures

    # -- one step of the clock

    def tick(self, now_ns: int) -> Action | Hold:
        """With overlap, return the action for the step that begins now; call it once every ``step_ns``.

        Where no chunk holds one, the starvation policy decides; what it gives is marked as ``stop``.
        """
        self.observe_clock(now_ns)
        barred = self._mandate.barred(now_ns, self._settings)
        if barred:
            return barred
        if not self._settings.chunk.overlap:
            return Hold.NOT_DUE
        if self._inputs.lost(now_ns, self._settings):
            self._schedule.clear()  # it led on from a place that nobody knows any more
            return self._execution.starve(self._moment(now_ns)) or Hold.NO_POSE
        return self._spent(self._execution.tick(self._moment(now_ns)))

    def _moment(self, now_ns: int) -> Moment:
        position = self._inputs.position(now_ns)
        return Moment(now_ns, self.step_ns, self.instruction or "", self._settings, position)

    def _spent(self, result: Action | Hold) -> Action | Hold:
        if isinstance(result, Action) and not result.stop:
            self._mandate.spend()
        return result

    # -- stopping

    @property
    def resting(self) -> bool:
        """Whether time alone changes nothing: no step and no watchdog gives anything before the next input."""
        return self.last_action is None and self._schedule.empty

    def stop(self, now_ns: int) -> Action | None:
        """Return one stop action (no motion, gripper held) if the last action was motion, else None.

        Nothing that was planned before, or is being inferred, leaves after it.
        """
        self._discard_plans()
        return self._halt(now_ns)

    def watchdog(self, now_ns: int) -> Action | None:
        """Return a stop action, once, when no new action or instruction came for the time that settings allow."""
        self.observe_clock(now_ns)
        if self.last_action is None:
            return None
        if self.unheard(now_ns):
            self.counts["stale instruction"] += 1
        elif self._output.overdue(now_ns, self._settings.watchdog_ns):
            self.counts["watchdog stop"] += 1
        else:
            return None
        return self._halt(now_ns)

    def _halt(self, now_ns: int) -> Action | None:
        """The stop action. Unlike ``stop`` it lets a slow inference on its way set the arm in motion again."""
        self._schedule.clear()
        self._interruption += 1
        return self._output.stop(now_ns)

    def _discard_plans(self) -> None:
        """Make everything obsolete that is scheduled or being inferred."""
        self._schedule.clear()
        self._generation += 1
        self._interruption += 1
