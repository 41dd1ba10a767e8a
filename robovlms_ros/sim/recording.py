"""Episodes of the expert as a dataset folder, as everything else in this package reads them.

Training seeds begin at `FIRST_TRAINING_SEED`; smaller ones are kept for evaluation, so that no scene is in both.
"""

from __future__ import annotations

import functools
import json
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

from robovlms_ros.data.convert import convert
from robovlms_ros.data.episodes import ArrayEpisode, RotationFormat
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.format import DatasetInfo, ImageFormat, Origin, read_rows
from robovlms_ros.sim.closed_loop import ClosedLoop, LoopPolicy
from robovlms_ros.sim.environment import DEFAULT_IMAGE_SIZE, TabletopEnvironment
from robovlms_ros.sim.errors import SimulatorError
from robovlms_ros.sim.expert import Noise
from robovlms_ros.sim.privileged import PrivilegedEpisode, write_privileged
from robovlms_ros.sim.randomization import Randomization
from robovlms_ros.sim.rendering import find_backend
from robovlms_ros.sim.rollout import Rollout, corrected_rollout, expert_rollout
from robovlms_ros.sim.scene import FRAME, STEP_DURATION
from robovlms_ros.sim.tasks import Family, Wording, draw_task

FIRST_TRAINING_SEED = 1_000_000
# An episode that a policy drives ends after so many steps: where it is stuck, more would tell nothing new.
MOST_CORRECTED: dict[Family, int] = {"pick": 40, "stack": 70}
# Under noise an attempt may fail; the next one is disturbed in another way.
ATTEMPTS = 5


@dataclass(frozen=True)
class RecordingPlan:
    """What to record. Episode ``i`` is of seed ``first_seed + i`` and of the families in turn.

    With a ``policy``, the folder of a packed model, that drives, and the expert says what it should have done.
    """

    episodes: int
    families: tuple[Family, ...] = ("pick",)
    image_size: int = DEFAULT_IMAGE_SIZE
    wording: Wording = "train"
    noise: Noise | None = None
    randomization: Randomization | None = None
    first_seed: int = FIRST_TRAINING_SEED
    policy: str | None = None

    def identifier(self, index: int) -> str:
        """The name of an episode in the dataset."""
        return f"{self.family(index)}-{self.first_seed + index}"

    def family(self, index: int) -> Family:
        """The family of an episode."""
        return self.families[index % len(self.families)]

    def environment(self, drawing: bool = True, backend: str | None = None) -> TabletopEnvironment:
        """A tabletop for all its episodes."""
        size = self.image_size if drawing else None
        return TabletopEnvironment(self.families[0], size, self.wording, self.randomization, backend)

    def rollout(self, environment: TabletopEnvironment, index: int) -> Rollout:
        """Episode ``index``. Raises `DataError` where the expert fails in it, again and again."""
        seed = self.first_seed + index
        task = draw_task(self.family(index), seed)
        if self.policy is not None:
            loop = ClosedLoop(_policy(self.policy), environment)
            return corrected_rollout(loop, seed, task, MOST_CORRECTED[task.family])
        for attempt in range(ATTEMPTS if self.noise else 1):
            rollout = expert_rollout(environment, seed, task, self.noise, attempt)
            if rollout.succeeded:
                return rollout
        raise DataError(f"the expert does not succeed in {self.identifier(index)}; use less noise")


class ExpertSource:
    """The episodes of a plan, made when they are asked for: an `robovlms_ros.data.episodes.EpisodeSource`.

    With more than one of ``workers``, processes make the next ones ahead. Use it as a context manager.
    """

    name = "tabletop expert"
    rotation_format: RotationFormat = "rpy"
    frame = FRAME

    def __init__(self, plan: RecordingPlan, workers: int = 1) -> None:
        self.plan = plan
        self.privileged: dict[int, PrivilegedEpisode] = {}
        self._workers = workers
        # Found here, once, and told to the processes.
        self._backend = find_backend()
        self._environment: TabletopEnvironment | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._newest: tuple[int, Rollout] | None = None
        self._ahead: deque[tuple[int, Future[Rollout]]] = deque()

    def __len__(self) -> int:
        return self.plan.episodes

    def __getitem__(self, index: int) -> ArrayEpisode:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._newest is None or self._newest[0] != index:
            self._newest = index, self._made_here(index) if self._workers < 2 else self._made_ahead(index)
        rollout = self._newest[1]
        identifier = self.plan.identifier(index)
        self.privileged[index] = PrivilegedEpisode.of(rollout, identifier)
        return ArrayEpisode(
            identifier=identifier,
            instruction=rollout.instruction,
            step_duration=STEP_DURATION,
            actions=rollout.labels,
            images=rollout.images,
            states=rollout.states,
        )

    def __enter__(self) -> ExpertSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._environment is not None:
            self._environment.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _made_here(self, index: int) -> Rollout:
        if self._environment is None:
            self._environment = self.plan.environment(backend=self._backend)
        return self.plan.rollout(self._environment, index)

    def _made_ahead(self, index: int) -> Rollout:
        if self._pool is None:
            # Not forked: graphics libraries do not survive it.
            self._pool = ProcessPoolExecutor(self._workers, get_context("spawn"))
        while self._ahead and self._ahead[0][0] != index:
            self._ahead.popleft()[1].cancel()
        following = self._ahead[-1][0] + 1 if self._ahead else index
        for coming in range(following, min(index + 2 * self._workers, len(self))):
            self._ahead.append((coming, self._pool.submit(_work, self.plan, self._backend, coming)))
        try:
            return self._ahead.popleft()[1].result()
        except BrokenProcessPool as error:
            raise SimulatorError(
                "a process that was recording has ended, out of memory perhaps; repeat the command to go on, with "
                "one worker where it happens again"
            ) from error


@functools.cache
def _environment_of(plan: RecordingPlan, backend: str) -> TabletopEnvironment:
    return plan.environment(backend=backend)


@functools.cache
def _policy(folder: str) -> LoopPolicy:
    """A packed model, loaded once in each process; torch is imported here and nowhere else in `sim`."""
    import torch

    from robovlms_ros.policy.vla_policy import VLAPolicy

    # Processes share the cores, and sums of more threads round differently from machine to machine.
    torch.set_num_threads(1)
    return VLAPolicy.load(folder)


def _work(plan: RecordingPlan, backend: str, index: int) -> Rollout:
    return plan.rollout(_environment_of(plan, backend), index)


def record(
    plan: RecordingPlan,
    folder: Path,
    images: ImageFormat | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DatasetInfo:
    """Write the episodes of ``plan`` to a dataset folder, and beside them what no robot is told.

    Images are PNG where ``images`` is None: the policy then sees in training what it sees in the simulator. An
    interrupted recording is continued by the same call. Raises `DataError` and `RenderingError`.
    """
    # As JSON keeps it, so that the plan of an interrupted recording is recognised.
    options = json.loads(json.dumps(asdict(plan)))
    origin = Origin(importer="tabletop", path="robovlms_ros.sim", options=options)
    with ExpertSource(plan, workers) as source:
        info = convert(source, folder, origin, images=images or ImageFormat(encoding="png"), progress=progress)
        made = source.privileged
    # What an interrupted run had recorded is done again, without images where no policy needs them.
    undrawn = plan.environment(drawing=plan.policy is not None)
    rows = [row.source for row in read_rows(folder)]
    write_privileged(
        folder,
        [
            made.get(index) or PrivilegedEpisode.of(plan.rollout(undrawn, index), plan.identifier(index))
            for index in rows
        ],
    )
    return info
