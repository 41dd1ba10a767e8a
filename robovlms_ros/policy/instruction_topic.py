"""What the instruction topic says to the controller. Publishers repeat themselves, and not all of it is news."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.instruction import InstructionError, clean_instruction


@dataclass(frozen=True)
class Said:
    """A message of the topic: as it came, cleaned ("" to stop), and why it is refused, which stops, too."""

    original: str
    text: str
    problem: str = ""


@dataclass(frozen=True)
class Heard:
    """What came of a message: whether it was ``news``, ``changed`` the instruction, and may set off a step."""

    news: bool
    changed: bool
    wake: bool


class InstructionTopic:
    """Takes the messages of the topic for ``controller``; ``stop_arm()`` stops an arm that may be moving.

    ``special_tokens`` are those of the model. `take` is not thread-safe.
    """

    def __init__(
        self, controller: Controller, special_tokens: Iterable[str], stop_arm: Callable[[], None]
    ) -> None:
        self._controller = controller
        self._special_tokens = tuple(special_tokens)
        self._stop_arm = stop_arm
        self._last: str | None = None

    def understand(self, original: str) -> Said:
        """Clean a message; touches nothing."""
        try:
            return Said(original, clean_instruction(original, self._special_tokens))
        except InstructionError as error:
            return Said(original, "", str(error))

    def take(self, said: Said, now_ns: int) -> Heard:
        """Tell the controller. Where this stops the arm, that comes first: it belongs to the episode that ends.

        What the topic said before is no news: none of those who repeat themselves may take over from somebody
        else, or go on after him. A stop is always obeyed.
        """
        controller = self._controller
        if said.original == self._last and (said.text or not controller.instruction):
            again = said.text == controller.instruction
            if again:
                controller.hear_instruction(now_ns)
            return Heard(news=False, changed=False, wake=again)
        self._last = said.original
        if said.problem:
            controller.counts["refused instruction"] += 1
        if not said.text:
            self._stop_arm()
        changed = controller.set_instruction(said.text, now_ns)
        return Heard(news=True, changed=changed, wake=changed)
