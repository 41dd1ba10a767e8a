"""A training run from its configuration to its last checkpoint."""

from __future__ import annotations

import logging
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console
from torch import nn

from robovlms_ros.data.episodes import EpisodeSource
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.train.auxiliary import AuxiliaryHead, auxiliary_class
from robovlms_ros.train.checkpoints import Checkpoint
from robovlms_ros.train.config import TrainingConfig
from robovlms_ros.train.engine import expect_unused, is_sharded, make_accelerator, process_count
from robovlms_ros.train.estimate import estimate, room_for_checkpoints
from robovlms_ros.train.failures import explained
from robovlms_ros.train.feature_filling import choose_level, keep_features
from robovlms_ros.train.loop import TrainingLoop
from robovlms_ros.train.model_source import load_model, recompute_activations
from robovlms_ros.train.network import TrainingNetwork
from robovlms_ros.train.plan import make_plan
from robovlms_ros.train.reporting import MetricsFile, Reporter, RunReporter, progress_bar
from robovlms_ros.train.run_folder import RunFolder, refuse_used
from robovlms_ros.train.saving import Saver
from robovlms_ros.train.validation import Validation

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: steps done in all, its folder, and the signal that ended it early (0: none)."""

    steps: int
    folder: Path
    signal: int = 0


def train(
    config: TrainingConfig,
    *,
    resume: bool = False,
    dry_run: bool = False,
    sources: Sequence[EpisodeSource] | None = None,
    console: Console | None = None,
) -> Outcome:
    """Train as ``config`` says.

    Args:
        config: the run.
        resume: go on with the run in ``config.output`` from its last checkpoint.
        dry_run: stop after the estimate; nothing is written.
        sources: episodes to train on in the place of ``data.train``.
        console: where to tell about it; standard error if not said.

    Raises `ModelError`. SIGINT and SIGTERM end it after the step at hand, with a checkpoint.
    """
    begun = RunFolder.open(config.output) if resume else None
    if begun is None:
        refuse_used(config.output)
    else:
        begun.check_same(config)
    with explained(config.output), tempfile.TemporaryDirectory(prefix="robovlms_train_") as scratch:
        run = _Run(config, begun, sources, Path(scratch), console or Console(stderr=True))
        return run.go(dry_run)


class _Run:
    """What `train` holds while it works."""

    def __init__(
        self,
        config: TrainingConfig,
        begun: RunFolder | None,
        sources: Sequence[EpisodeSource] | None,
        scratch: Path,
        console: Console,
    ) -> None:
        self._config, self._begun = config, begun
        self._plan = make_plan(config, scratch / "untrained", process_count(), sources, begun)
        optim, order = config.optim, self._plan.order
        self._accelerator = make_accelerator(optim.precision, order.accumulate, optim.clip, order.batch_size)
        self._reporter: Reporter = Reporter()
        self._console = console if self._accelerator.is_main_process else Console(quiet=True)
        self._checkpoint: Checkpoint | None = None
        if begun is not None:
            saved = begun.checkpoints(config).all()
            if not saved:
                raise ConfigError(f"{begun.path} has no checkpoint to go on from; remove it and begin anew")
            self._checkpoint = saved[-1]

    def go(self, dry_run: bool) -> Outcome:
        accelerator, plan = self._accelerator, self._plan
        network = self._network()
        first = self._checkpoint.step if self._checkpoint else 0
        network.to(accelerator.device)
        if not dry_run:
            folder = self._folder(network)
            self._keep_features(network, folder)
        if not is_sharded(accelerator):
            self._tell(network, first)
        if dry_run:
            return Outcome(first, self._config.output)
        optimizer: Any = torch.optim.AdamW(
            [weight for weight in network.parameters() if weight.requires_grad],
            lr=plan.loop.learning_rate,
            weight_decay=plan.weight_decay,
        )
        prepared, optimizer = accelerator.prepare(network, optimizer)
        if accelerator.is_main_process:
            metrics = MetricsFile(folder.metrics)
            metrics.cut(first)
            board = folder.tensorboard if self._config.log.tensorboard else None
            self._reporter = RunReporter(metrics, board, self._console)
        saver = Saver(accelerator, prepared, optimizer, folder.checkpoints(self._config), self._reporter)
        if accelerator.is_main_process:
            folder.checkpoints(self._config).prune()
        if self._checkpoint is not None:
            saver.restore(self._checkpoint)
        loop = TrainingLoop(
            *(accelerator, prepared, optimizer, plan.train, plan.collate, plan.order, plan.loop),
            _Hooks(saver, self._validation(prepared)),
            self._reporter,
            self._config.data.workers,
        )
        with _ended_by_signals(loop) as received:
            done = loop.run(first)
        accelerator.wait_for_everyone()
        return Outcome(done, folder.path, received[0] if received and done < plan.loop.steps else 0)

    def _network(self) -> TrainingNetwork:
        plan = self._plan
        if self._begun is not None and self._checkpoint is not None:
            vla = self._begun.load_model(self._checkpoint)
        else:
            vla = load_model(plan.source, self._config.seed)
        recompute_activations(vla)
        auxiliary: dict[str, tuple[AuxiliaryHead, float]] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._config.seed)
            for part in plan.auxiliary:
                head = auxiliary_class(part.name).build(vla, **part.options)
                auxiliary[part.name] = head, part.weight
        preprocess = ImagePreprocessor(
            *(vla.config.image_size, vla.image_mean, vla.image_std, self._config.data.preprocess),
            self._accelerator.device,
        )
        network = TrainingNetwork(
            *(vla, preprocess, plan.loss, auxiliary),
            dropout=self._config.optim.dropout,
            pad_prompts=self._config.data.pad_prompts,
        ).train()
        if not any(weight.requires_grad for weight in network.parameters()):
            raise ConfigError("train_setup freezes everything; there is nothing to train")
        return network

    def _folder(self, network: TrainingNetwork) -> RunFolder:
        """The run's folder; the main process makes it while the others wait."""
        if self._begun is not None:
            return self._begun
        if self._accelerator.is_main_process:
            RunFolder.create(self._config, self._plan.source, network)
        self._accelerator.wait_for_everyone()
        return RunFolder.open(self._config.output)

    def _keep_features(self, network: TrainingNetwork, folder: RunFolder) -> None:
        plan, config = self._plan, self._config
        datasets = {"train": plan.train} | ({"validation": plan.validation} if plan.validation else {})
        images = sum(int(part.table.starts[-1]) * len(part.cameras) for part in datasets.values())
        level = choose_level(config, network.vla, images)
        if level is None:
            return
        network.kept = level[0]
        for name, dataset in datasets.items():
            with progress_bar(f"features of {name}", self._console) as progress:
                dataset.features = keep_features(
                    *(self._accelerator, network.vla, level, dataset, network.preprocess),
                    (config.feature_cache.folder or folder.features) / name,
                    *(config.optim.precision, config.data.workers, progress),
                )
        self._console.print(
            f"features    {level[0]} of {images} images kept: the image encoder is frozen and runs no more",
            highlight=False,
        )

    def _tell(self, network: TrainingNetwork, first: int) -> None:
        found = estimate(self._accelerator, network, self._plan, first)
        order, train = self._plan.order, self._plan.train
        self._console.print(
            f"data        {len(train.table)} episodes, {int(train.table.starts[-1])} steps, {len(train)} windows; "
            f"{order.per_step} windows per step, {order.steps_per_epoch} steps per epoch",
            highlight=False,
            soft_wrap=True,
        )
        for line in found.lines():
            self._console.print(line, highlight=False, soft_wrap=True)
        expect_unused(self._accelerator, bool(found.unused))
        if warning := room_for_checkpoints(self._config.output, found, self._plan):
            self._console.print(f"[yellow]warning:[/yellow] {warning}", highlight=False, soft_wrap=True)

    def _validation(self, network: nn.Module) -> Validation | None:
        if self._plan.validation is None:
            return None
        return Validation(
            *(self._accelerator, network, self._plan.validation, self._plan.collate),
            self._config.validation.windows,
            self._plan.order.batch_size,
            self._config.data.workers,
        )


class _Hooks:
    """See `robovlms_ros.train.loop.Hooks`."""

    def __init__(self, saver: Saver, validation: Validation | None) -> None:
        self._saver, self._validation = saver, validation

    def validate(self, step: int) -> Mapping[str, float]:
        return self._validation() if self._validation else {}

    def save(self, step: int, metrics: Mapping[str, float], last: bool) -> None:
        self._saver.save(step, metrics, last)


@contextmanager
def _ended_by_signals(loop: TrainingLoop) -> Iterator[list[int]]:
    """SIGINT and SIGTERM end the loop after its step, a second one at once. Gives the signals received."""
    received: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        loop.stop()

    try:
        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: somebody else's signals
        before = {}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
