"""Everything about a run that can be known, and be wrong, before a weight is loaded."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from robovlms_ros.data.episodes import EpisodeSource
from robovlms_ros.data.folder.reader import open_dataset
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.discrete_prompt import IGNORED_LABEL
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.registry import backbone_class
from robovlms_ros.model.vlm_builder import load_tokenizer
from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.policy.robot_profile import RobotProfile, load_profile
from robovlms_ros.train.auxiliary import auxiliary_class
from robovlms_ros.train.batch import Collate
from robovlms_ros.train.config import AuxiliarySection, OptimSection, TrainingConfig
from robovlms_ros.train.episode_table import EpisodeTable, Needs, read_table
from robovlms_ros.train.loop import LoopSettings
from robovlms_ros.train.losses import GRIPPER_RATIO, LossSettings
from robovlms_ros.train.model_source import ModelSource, find_model
from robovlms_ros.train.order import TrainingOrder
from robovlms_ros.train.run_folder import RunFolder
from robovlms_ros.train.schedules import Schedule
from robovlms_ros.train.text_rows import PromptRows, text_rows
from robovlms_ros.train.window_dataset import WindowDataset, WindowSettings

logger = logging.getLogger(__name__)
Value = TypeVar("Value")


@dataclass(frozen=True)
class TrainingPlan:
    """A run, decided. ``validation`` is None where no episodes are held out."""

    config: TrainingConfig
    source: ModelSource
    profile: RobotProfile
    train: WindowDataset
    validation: WindowDataset | None
    collate: Collate
    order: TrainingOrder
    loop: LoopSettings
    loss: LossSettings
    auxiliary: Sequence[AuxiliarySection]
    weight_decay: float

    @property
    def model_config(self) -> RoboVLMConfig:
        """The configuration of the model."""
        return self.source.config


def make_plan(
    config: TrainingConfig,
    scratch: Path,
    world: int = 1,
    sources: Sequence[EpisodeSource] | None = None,
    begun: RunFolder | None = None,
) -> TrainingPlan:
    """Check ``config`` and everything that it names, and read the numbers of the data.

    Args:
        config: the run.
        scratch: where an untrained model is written.
        world: processes that will train.
        sources: episodes to train on in the place of ``data.train``.
        begun: the run that goes on, whose own model and robot profile are taken.

    Raises `ModelError` with what to change.
    """
    if begun is None:
        model, robot = find_model(config.model, scratch), config.robot
    else:
        model, robot = ModelSource(begun.read_model_config(), begun.vlm), str(begun.robot)
    profile = load_profile(robot).for_model(model.config)
    auxiliary = _auxiliary(config, model.config)
    if config.checkpoints.metric.startswith("val_") and not _validated(config):
        logger.info("no episodes are held out, so no checkpoint is kept for its %s", config.checkpoints.metric)
    text = text_rows(model.config, load_tokenizer(model.vlm_folder, model.config.tokenizer))
    head = model.config.act_head
    assert head is not None  # find_model has checked it
    needs = Needs(
        profile=profile,
        cameras=("static", "hand") if model.config.use_hand_rgb else ("static",),
        instruction_ids=text.prompt,
        with_gripper=head.with_gripper,
        states=model.config.state_encoder is not None
        or any(auxiliary_class(part.name).needs_states for part in auxiliary),
        frame=config.data.frame,
    )
    train, validation = _datasets(config, model.config, text, needs, sources)
    order = _order(config, model.config, len(train), world)
    optim = config.optim
    ratio = config.loss.gripper_ratio
    if ratio is None:
        ratio = GRIPPER_RATIO["mse"] if config.loss.pose == "mse" else model.config.arm_gripper_loss_ratio
    return TrainingPlan(
        config=config,
        source=model,
        profile=profile,
        train=train,
        validation=validation,
        collate=Collate(text.pad_id, IGNORED_LABEL),
        order=order,
        loop=_loop_settings(config, model.config, order),
        loss=LossSettings(config.loss.pose, ratio),
        auxiliary=auxiliary,
        weight_decay=_either(optim.weight_decay, model.config.weight_decay),
    )


def _validated(config: TrainingConfig) -> bool:
    return bool(config.data.validation or config.data.validation_fraction)


def _auxiliary(config: TrainingConfig, model: RoboVLMConfig) -> list[AuxiliarySection]:
    """The heads asked for; a model with ``use_clip_norm`` must have that one among them, as it needs a folder."""
    for head in config.loss.auxiliary:
        auxiliary_class(head.name)
    chosen = list(config.loss.auxiliary)
    if model.use_clip_norm and "clip_norm" not in {head.name for head in chosen}:
        raise ConfigError(
            "the model's configuration says use_clip_norm: name the folder of a CLIP model, with loss.auxiliary: "
            f"[{{name: clip_norm, weight: {model.clip_norm_ratio}, options: {{folder: ...}}}}], or override it "
            "with false"
        )
    return chosen


def _datasets(
    config: TrainingConfig,
    model: RoboVLMConfig,
    text: PromptRows,
    needs: Needs,
    sources: Sequence[EpisodeSource] | None,
) -> tuple[WindowDataset, WindowDataset | None]:
    data = config.data
    windows = WindowSettings(
        sampling=data.sampling,
        left_pad=data.left_pad,
        skip=data.skip,
        shift=data.shift.model_dump(),
        history_dropout=data.history_dropout,
    )
    cls = backbone_class(model.robovlm_name)
    preprocess = ImagePreprocessor(model.image_size, cls.image_mean, cls.image_std, data.preprocess)

    def dataset(table: EpisodeTable, of: Sequence[EpisodeSource]) -> WindowDataset:
        return WindowDataset(of, table, model, text, preprocess, windows)

    training = list(sources) if sources is not None else [open_dataset(folder) for folder in data.train]
    table = read_table(training, needs)
    if data.validation:
        held_out = [open_dataset(folder) for folder in data.validation]
        return dataset(table, training), dataset(read_table(held_out, needs), held_out)
    if not data.validation_fraction:
        return dataset(table, training), None
    count = max(1, round(data.validation_fraction * len(table)))
    if count >= len(table):
        raise ConfigError(
            f"data.validation_fraction {data.validation_fraction} of {len(table)} episodes leaves none to train on"
        )
    shuffled = np.random.default_rng((config.seed, 2)).permutation(len(table))
    kept, out = np.sort(shuffled[count:]).tolist(), np.sort(shuffled[:count]).tolist()
    return dataset(table.select(kept), training), dataset(table.select(out), training)


def _order(config: TrainingConfig, model: RoboVLMConfig, windows: int, world: int) -> TrainingOrder:
    batch_size = config.optim.batch_size
    if batch_size is None:
        if not isinstance(model.batch_size, int):
            raise ConfigError("batch_size of the model's configuration is a list; set optim.batch_size")
        batch_size = model.batch_size
    accumulate = _either(config.optim.accumulate, model.trainer.accumulate_grad_batches)
    return TrainingOrder(windows, batch_size, config.seed, accumulate, world)


def _loop_settings(config: TrainingConfig, model: RoboVLMConfig, order: TrainingOrder) -> LoopSettings:
    optim: OptimSection = config.optim
    steps = optim.steps
    if steps is None:
        assert optim.epochs is not None  # one of the two is given
        steps = math.ceil(optim.epochs * order.steps_per_epoch)
    warmup = _either(optim.warmup_steps, model.warmup_steps)
    warmup_epochs = _either(optim.warmup_epochs, model.warmup_epochs)
    schedule = Schedule(
        kind=_either(optim.schedule, model.scheduler),
        total=steps,
        warmup=warmup + warmup_epochs * order.steps_per_epoch,
        min_scale=_either(optim.min_lr_scale, model.min_lr_scale),
    )
    return LoopSettings(
        steps=steps,
        learning_rate=_either(optim.learning_rate, model.learning_rate),
        schedule=schedule,
        clip=optim.clip,
        seed=config.seed,
        log_every=config.log.every,
        validate_every=config.validation.every,
        save_every=config.checkpoints.every,
    )


def _either(given: Value | None, otherwise: Value) -> Value:
    return otherwise if given is None else given
