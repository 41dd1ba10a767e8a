"""Whose instruction the node follows: the topic's, or that of a goal of `~/run_instruction`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from std_msgs.msg import String

from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.decision import Action
from robovlms_ros.policy.instruction_run import InstructionRun, Termination
from robovlms_ros.policy.instruction_topic import InstructionTopic, Said
from robovlms_ros.ros import qos
from robovlms_ros.ros.clock import now_ns
from robovlms_ros.ros.lifecycle import ManagedNode


class InstructionInput:
    """Tells ``controller`` what to do. ``lock`` guards the controller and the runs of goals.

    ``stop_arm()`` publishes a stop action if the arm may be moving, ``wake()`` makes a step happen soon; both are
    called with ``lock`` held.
    """

    def __init__(
        self,
        node: ManagedNode,
        controller: Controller,
        special_tokens: Iterable[str],
        lock: AbstractContextManager[Any],
        stop_arm: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._node = node
        self._controller = controller
        self._topic = InstructionTopic(controller, special_tokens, stop_arm)
        self._lock = lock
        self._stop_arm = stop_arm
        self._wake = wake
        self._run: InstructionRun | None = None
        # A latched instruction needs a transient-local subscription, which hears nothing of a volatile
        # publisher (`ros2 topic pub`): so there are two, and the handler is idempotent.
        unheard = qos.on_mismatch(lambda: None)
        with ExitStack() as undo:
            for profile, callbacks in ((qos.latched(), unheard), (qos.volatile(), None)):
                subscription = node.create_subscription(
                    String, "instruction", self._on_instruction, profile, event_callbacks=callbacks
                )
                undo.callback(node.destroy_subscription, subscription)
            self._undo = undo.pop_all()

    def destroy(self) -> None:
        """Give the subscriptions back."""
        self._undo.close()

    # -- for goals; all with the lock held

    def follow(self, run: InstructionRun) -> None:
        """Begin an episode for ``run``. What ends it here is told to ``run.end``."""
        self._run = run
        self._controller.follow(run.instruction, run.max_steps or None, now_ns(self._node))
        self._wake()

    def unfollow(self, run: InstructionRun) -> None:
        """Stop the arm and forget the instruction of ``run``, which has ended; nothing if it was replaced."""
        if run is self._run:
            self._run = None
            self._stop_arm()
            self._controller.set_instruction("", now_ns(self._node))
            self._wake()

    def interrupt(self, reason: Termination, message: str) -> None:
        """End the run of a goal, if there is one, and stop the arm."""
        if self._run:
            self._run.end(reason, message, now_ns(self._node))
            self.unfollow(self._run)

    def acted(self, action: Action, now: int) -> None:
        """Count an action that was published now."""
        if self._run:
            self._run.acted(action.stamp_ns, now)

    # -- from the topic

    def _on_instruction(self, message: String) -> None:
        said = self._topic.understand(message.data)
        now = now_ns(self._node)
        with self._lock:
            heard = self._topic.take(said, now)
            if heard.news:
                self._tell(said, heard.changed, now)
            if heard.wake:
                self._wake()

    def _tell(self, said: Said, changed: bool, now: int) -> None:
        logger, text = self._node.get_logger(), said.text
        if said.problem:
            logger.error(f"instruction {said.original[:80]!r} refused, the arm stops: {said.problem}")
        if not changed:
            return
        run, self._run = self._run, None
        if run:
            what = (
                f"the instruction {text[:80]!r}" if text else "a refused instruction" if said.problem else "a stop"
            )
            run.end(Termination.PREEMPTED, f"{what} came on the topic", now)
        logger.info(f"instruction {text[:80]!r}" if text else "empty instruction: stopped")
