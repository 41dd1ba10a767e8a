"""One episode after another on the tabletop: seeded, in lock step, with observations as a policy takes them."""

from __future__ import annotations

from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.types import Observation
from robovlms_ros.sim.camera import Renderer
from robovlms_ros.sim.randomization import Appearance, Randomization
from robovlms_ros.sim.scene import CAMERAS, COLOURS
from robovlms_ros.sim.success import SuccessCondition
from robovlms_ros.sim.tasks import Family, Task, Wording, draw_instruction, draw_task
from robovlms_ros.sim.world import World

Array = NDArray[np.float64]

# After so many control steps an episode is over. The expert needs at most 18 and 36 (docs/tabletop.md).
MAX_STEPS: dict[Family, int] = {"pick": 60, "stack": 120}
DEFAULT_IMAGE_SIZE = 96


class TabletopEnvironment:
    """A tabletop to reset and step. The same seed and actions give the same bits: states, images, instruction.

    With ``image_size`` None nothing is drawn and observations have no images, which is ten times as fast. Of
    ``family`` "pick" and "stack" the seed draws a task, of ``wording`` a sentence for it. Not thread-safe; use it
    in the thread that made it, and `close` it (or use it in a ``with``).

    Raises `RenderingError` where this machine cannot draw: here, never in an episode.
    """

    def __init__(
        self,
        family: Family = "pick",
        image_size: int | None = DEFAULT_IMAGE_SIZE,
        wording: Wording = "canonical",
        randomization: Randomization | None = None,
        backend: str | None = None,
    ) -> None:
        self.family, self.wording, self.randomization = family, wording, randomization
        self.world = World()
        self._appearance = Appearance(self.world.model)
        self._renderer: Renderer | None = None
        if image_size is not None:
            self._renderer = Renderer(self.world.model, image_size, backend)
        self._success: SuccessCondition | None = None
        self.instruction = ""
        self.steps = 0

    def reset(self, seed: int, task: Task | None = None, instruction: str | None = None) -> Observation:
        """The episode that ``seed`` (at least 0) stands for; with a ``task``, that one in the same scene.

        ``instruction`` replaces the sentence and nothing else: success is still that of the task.
        """
        task = task or draw_task(self.family, seed)
        self._success, self.steps = SuccessCondition(task), 0
        self.instruction = draw_instruction(task, self.wording, seed) if instruction is None else instruction
        self._appearance.reset(self.randomization, seed)
        self.world.reset(seed)
        return self.observe()

    def step(self, action: Array) -> Observation:
        """One control step. ``action``: ``(7,)``, metres and radians in the base frame and the gripper's opening.

        It is limited as in `robovlms_ros.sim.motion`. Raises ValueError where it is not 7 finite numbers, and
        RuntimeError when the episode is over.
        """
        if self.finished:
            raise RuntimeError("this episode is over: call reset")
        self.world.step(action)
        self.steps += 1
        self._condition.update(self.world)
        return self.observe()

    def observe(self) -> Observation:
        """What the robot sees and knows now."""
        images = {
            name: self._renderer.draw(self.world.data, camera) if self._renderer else None
            for name, camera in CAMERAS.items()
        }
        return Observation(images=images, instruction=self.instruction, state=self.world.state())

    @property
    def task(self) -> Task:
        """What is to be done in this episode."""
        return self._condition.task

    @property
    def succeeded(self) -> bool:
        """Whether it has been done."""
        return self._condition.succeeded

    @property
    def finished(self) -> bool:
        """Whether the episode is over: done, or out of steps."""
        return self.succeeded or self.steps >= MAX_STEPS[self.task.family]

    @property
    def info(self) -> dict[str, Array | None]:
        """What no robot is told, for training and its analysis.

        ``target`` and, where there is one, ``base``: that block as the tool sees it, ``(5,)``: x y z in metres in
        the tool's frame, then sine and cosine of four times its yaw against the tool (a block looks the same after
        a quarter turn). ``blocks``: all of them, ``(15,)``, in the order of `COLOURS`.
        """
        blocks = {colour: self.world.block_from_tool(colour) for colour in COLOURS}
        base = self.task.base
        return {
            "target": blocks[self.task.target],
            "base": None if base is None else blocks[base],
            "blocks": np.concatenate(list(blocks.values())),
        }

    def close(self) -> None:
        """Give the graphics memory back."""
        if self._renderer is not None:
            self._renderer.close()

    @property
    def _condition(self) -> SuccessCondition:
        if self._success is None:
            raise RuntimeError("no episode has begun: call reset first")
        return self._success

    def __enter__(self) -> TabletopEnvironment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
