"""The node's controller on a bag's clock: the same decisions at the same times, without threads, DDS or ROS.

What the node's threads and timers do happens here in one order. At equal times an inference ends first, then the
control step begins, then the watchdog looks, and only then is the next message heard. Timers lie on multiples of
their periods, as those of a node that was configured before the simulated clock began to run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.assembly import make_controller
from robovlms_ros.policy.decision import ACTING, AWAITS_STATE, Action, Hold
from robovlms_ros.policy.failure import failure_of
from robovlms_ros.policy.history import ActionHistoryRing
from robovlms_ros.policy.instruction_topic import InstructionTopic
from robovlms_ros.policy.policy_loader import RobotPolicy
from robovlms_ros.replay.problems import Problems
from robovlms_ros.replay.recorder import Answer, BagFrame, Recorder
from robovlms_ros.replay.result import ImageReference

NANOSECONDS = 1_000_000_000
WATCH_PERIOD_NS = 50_000_000
# Timers are not run through a longer time in which nothing is heard: it is a fault of the recorder's clock.
LONGEST_PAUSE_NS = 3600 * NANOSECONDS


class ReplayRuntime:
    """Takes what the node would have heard, in the order of time, and records what it would have published.

    Args:
        policy: the loaded model.
        values: parameters of vla_node.
        history_length: parameter of action_history_node.
        inference_ns: how long an inference takes by the bag's clock; 0 = its answer is there at once.
        recorder: takes what happens.
        problems: told of images that cannot be decoded, and of a policy that fails.
    """

    def __init__(
        self,
        policy: RobotPolicy,
        values: Mapping[str, Any],
        history_length: int,
        inference_ns: int,
        recorder: Recorder,
        problems: Problems,
    ) -> None:
        self.controller = make_controller(policy, values)
        self.gave_up = ""
        """Why the node would have deactivated itself; nothing happens any more."""
        self._recorder = recorder
        self._problems = problems
        self._inference_ns = inference_ns
        self._instruction = InstructionTopic(self.controller, policy.special_tokens, self._stop_arm)
        self._history = ActionHistoryRing(history_length) if values["history.source"] == "topic" else None
        self._step_ns = self.controller.step_ns if self.controller.settings.chunk.overlap else 0
        self._now = self._next_watch = self._next_tick = 0
        self._woken = True
        self._hold: Hold | None = None
        self._running: Answer | None = None
        self.controller.restart()

    @property
    def now_ns(self) -> int:
        """The bag's clock."""
        return self._now

    # -- time

    def begin(self, now_ns: int) -> None:
        """Set the clock going."""
        self._now = now_ns
        self._align_timers()

    def advance(self, until_ns: int) -> None:
        """Let happen what time alone brings, up to ``until_ns`` and including it."""
        if until_ns - self._now > LONGEST_PAUSE_NS:
            self._problems.input(
                "pause",
                f"the bag pauses for {(until_ns - self._now) / NANOSECONDS:.0f} s: the clock of its recorder "
                "jumped, or it is two recordings",
            )
            self._run_until(self._now + LONGEST_PAUSE_NS)
        else:
            self._run_until(until_ns)
        self._now = until_ns
        self._align_timers()

    def finish(self, end_ns: int) -> None:
        """Let the bag's time run out; what is being inferred then, and an image that waits for it, is answered."""
        self.advance(max(end_ns, self._now))
        while self._running is not None and not self.gave_up:
            self._now = self._done_ns(self._running)
            self._complete(self._running)
            self._infer_if_woken()

    def _run_until(self, until_ns: int) -> None:
        while not self.gave_up and not (self._running is None and self.controller.resting):
            due = self._next_watch
            if self._step_ns:
                due = min(due, self._next_tick)
            if self._running is not None:
                due = min(due, self._done_ns(self._running))
            if due > until_ns:
                return
            self._now = due
            if self._running is not None and self._done_ns(self._running) == due:
                self._complete(self._running)
            elif self._step_ns and self._next_tick == due:
                self._next_tick += self._step_ns
                self._tick()
            else:
                self._next_watch += WATCH_PERIOD_NS
                self._watch()
            self._infer_if_woken()

    def _align_timers(self) -> None:
        """The timers' next times after now, where they were not run up to it."""
        if self._next_watch <= self._now:
            self._next_watch = (self._now // WATCH_PERIOD_NS + 1) * WATCH_PERIOD_NS
        if self._step_ns and self._next_tick <= self._now:
            self._next_tick = (self._now // self._step_ns + 1) * self._step_ns

    def _done_ns(self, answer: Answer) -> int:
        return answer.started_ns + self._inference_ns

    # -- what the node hears

    def image(self, camera: str, reference: ImageReference, decode: Callable[[], NDArray[np.uint8]]) -> str | None:
        """Offer an image that came now; return why it is dropped, or None."""
        frame = BagFrame(reference.stamp_ns, decode, reference)
        reason = self.controller.offer(camera, frame, self._now)
        self._recorder.offered(camera, reference, reason, self._now)
        if reason is None:
            self._woken = True
            self._infer_if_woken()
        return reason

    def state(self, part: str, stamp_ns: int, values: NDArray[np.float64]) -> str | None:
        """Offer a sample of the robot's state that came now; return why it is dropped, or None."""
        reason = self.controller.offer_state(part, stamp_ns, values, self._now)
        if reason is None and self._hold in AWAITS_STATE:
            self._woken = True
            self._infer_if_woken()
        return reason

    def say(self, original: str) -> None:
        """Take a message of the instruction topic."""
        said = self._instruction.understand(original)
        heard = self._instruction.take(said, self._now)
        if heard.news and said.problem:
            self._recorder.event(self._now, "refused instruction", f"{original[:80]!r}: {said.problem}")
        elif heard.news:
            self._recorder.event(self._now, "instruction", said.text)
        if heard.wake:
            self._woken = True
            self._infer_if_woken()

    # -- what the node does

    def _infer_if_woken(self) -> None:
        """What the inference thread does when it is woken and idle."""
        while self._woken and self._running is None and not self.gave_up:
            self._woken = False
            planned = self.controller.plan(self._now)
            if isinstance(planned, Hold):
                self._hold = planned
                self._recorder.held(planned, self._now, self.controller.settings.max_age_ns)
                return
            try:
                chunk = self.controller.infer(planned)
            except Exception as error:  # whatever the policy raises, as in the node
                self._running = Answer(planned, self._now, error=error)
            else:
                self._running = Answer(planned, self._now, chunk)
            if not self._inference_ns:
                self._complete(self._running)

    def _complete(self, answer: Answer) -> None:
        self._running = None
        if answer.chunk is None:
            self._fail(answer)
            return
        result = self.controller.commit(answer.request, answer.chunk, self._now)
        overlap = self.controller.settings.chunk.overlap
        acts = isinstance(result, Action) or (result is Hold.EXECUTING and overlap)
        self._hold = None if isinstance(result, Action) else result
        self._recorder.answered(answer, ACTING if acts else self._hold_value(result), self._now)
        if isinstance(result, Action):
            self._publish(result)

    @staticmethod
    def _hold_value(result: Action | Hold) -> str:
        return result.value if isinstance(result, Hold) else ACTING

    def _fail(self, answer: Answer) -> None:
        assert answer.error is not None
        failure, controller, exhausted = failure_of(answer.error), self.controller, False
        self._recorder.answered(answer, failure.reason, self._now)
        self._recorder.event(self._now, "failure", f"{failure.reason}: {answer.error}")
        if failure.input_fault:
            controller.counts[failure.reason] += 1
            self._problems.input(failure.reason, f"{failure.reason} ({_images(answer)}): {answer.error}")
            return
        exhausted = controller.failed(answer.request, failure.reason) or failure.hopeless
        self._problems.told(failure.reason, f"{failure.reason}: {answer.error}")
        if exhausted:
            self.gave_up = f"the node would have deactivated itself: {answer.error}"
            self._problems.told("gave up", self.gave_up)
            self._recorder.event(self._now, "gave up", str(answer.error))
            self._stop_arm()

    def _tick(self) -> None:
        result = self.controller.tick(self._now)
        if isinstance(result, Action):
            self._publish(result)
        if self.controller.inference_due:
            self._woken = True

    def _watch(self) -> None:
        stop = self.controller.watchdog(self._now)
        if stop:
            self._publish(stop)

    def _stop_arm(self) -> None:
        stop = self.controller.stop(self._now)
        if stop:
            self._publish(stop)

    def _publish(self, action: Action) -> None:
        self._recorder.published(action, self._now)
        if self._history is not None:  # what action_history_node answers to every action
            self._history.push(action.episode, action.sequence, action.stamp_ns, action.normalized)
            self.controller.set_history(action.episode, self._history.sequence, self._history.window())


def _images(answer: Answer) -> str:
    frames = answer.request.chosen.frames.values()
    references = [frame.reference for frame in frames if isinstance(frame, BagFrame)]
    return ", ".join(f"image {reference.number} on {reference.topic}" for reference in references)
