"""A training run as one file: what is trained, on what, how, and what is kept of it.

Keys that are left out at ``optim`` and ``loss`` take the value of the model's own (upstream's) configuration.
`robovlms_ros.train.config_file` reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from robovlms_ros.data.windows import Sampling
from robovlms_ros.policy.preprocess import Mode
from robovlms_ros.train.losses import PoseLoss
from robovlms_ros.train.schedules import Kind

FilePath = Annotated[Path, Field(strict=False), BeforeValidator(lambda given: _expanded(given))]
FilePaths = Annotated[list[FilePath], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
Share = Field(default=0.0, ge=0, lt=1)


def _expanded(given: Any) -> Any:
    return Path(given).expanduser() if isinstance(given, str) else given


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class UntrainedModel(_Section):
    """The small Kosmos-2 with random weights of ``robovlms untrained``: for trying a run, not for a robot."""

    window: int = Field(default=8, gt=0)
    chunk: int = Field(default=10, gt=0)
    hand: bool = False
    image_size: int = Field(default=224, gt=0)
    seed: int = Field(default=0, ge=0)
    action_encoder: bool = False


class ModelSection(_Section):
    """What training starts from: one of ``config``, ``packed`` and ``untrained``."""

    config: FilePath | None = None
    """A model's JSON configuration, in upstream's format."""
    vlm_dir: FilePath | None = None
    """For ``config``: the folder of its vision-language model."""
    weights: FilePath | None = None
    """For ``config``: a checkpoint (``.pt``, ``.safetensors``); without one the weights of ``vlm_dir``."""
    packed: FilePath | None = None
    """A folder of ``robovlms pack``."""
    policy_head: str = ""
    """For ``packed``: which of its policy heads."""
    untrained: UntrainedModel | None = None
    new_head: bool = False
    """Begin with a random policy head on what else ``weights`` or ``packed`` hold, the action token included."""
    overrides: dict[str, Any] = {}
    """Laid over the model's configuration, section by section (``train_setup``, ``act_head``, ...)."""

    @model_validator(mode="after")
    def _one_source(self) -> ModelSection:
        given = [name for name in ("config", "packed", "untrained") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of config, packed and untrained, not {' and '.join(given) or 'none'}")
        for name in ("vlm_dir", "weights"):
            if getattr(self, name) is not None and self.config is None:
                raise ValueError(f"{name} belongs to config; remove it")
        if self.policy_head and self.packed is None:
            raise ValueError("policy_head belongs to packed; remove it")
        if self.new_head and self.config is not None and self.weights is None:
            raise ValueError("new_head needs weights; without them the policy head is new anyway")
        return self


class ShiftSection(_Section):
    """Largest random shift of each camera's images in pixels; upstream's are 10 and 4."""

    static: int = Field(default=0, ge=0)
    hand: int = Field(default=0, ge=0)


class DataSection(_Section):
    """Dataset folders (``robovlms data import``), and what is done with their windows."""

    train: FilePaths = Field(min_length=1)
    validation: FilePaths = []
    validation_fraction: float = Share
    """Share of the training episodes that is held out instead."""
    frame: str | None = None
    """What the frame of the recordings is to count as, where it has another name in the robot profile."""
    sampling: Sampling = "sliding"
    left_pad: bool = False
    skip: int = Field(default=1, gt=0)
    shift: ShiftSection = ShiftSection()
    history_dropout: float = Share
    pad_prompts: bool = False
    """Pad the shorter prompts of a batch, as upstream does; a robot's prompt never is."""
    preprocess: Mode = "fast"
    workers: int = Field(default=2, ge=0)
    """Processes that read and prepare images; 0 does it between the steps."""

    @model_validator(mode="after")
    def _one_validation(self) -> DataSection:
        if self.validation and self.validation_fraction:
            raise ValueError("give validation or validation_fraction, not both")
        return self


class AuxiliarySection(_Section):
    """A further loss; ``options`` are those of the head."""

    name: str
    weight: float = Field(gt=0)
    options: dict[str, Any] = {}


class LossSection(_Section):
    """The loss of the pose, the weight of the gripper, and further heads."""

    pose: PoseLoss = "huber"
    gripper_ratio: float | None = Field(default=None, ge=0)
    auxiliary: list[AuxiliarySection] = []

    @model_validator(mode="after")
    def _different(self) -> LossSection:
        names = [head.name for head in self.auxiliary]
        if len(set(names)) < len(names):
            raise ValueError("auxiliary heads must have different names")
        return self


class OptimSection(_Section):
    """AdamW and its schedule. ``batch_size`` is per process; a step takes ``accumulate`` such batches."""

    steps: int | None = Field(default=None, gt=0)
    epochs: float | None = Field(default=None, gt=0)
    batch_size: int | None = Field(default=None, gt=0)
    accumulate: int | None = Field(default=None, gt=0)
    learning_rate: float | None = Field(default=None, gt=0)
    weight_decay: float | None = Field(default=None, ge=0)
    schedule: Kind | None = None
    warmup_steps: int | None = Field(default=None, ge=0)
    warmup_epochs: float | None = Field(default=None, ge=0)
    min_lr_scale: float | None = Field(default=None, ge=0, le=1)
    clip: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient; 0 does not clip."""
    precision: Literal["float32", "bfloat16"] = "float32"
    dropout: bool = True

    @model_validator(mode="after")
    def _one_length(self) -> OptimSection:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give one of steps and epochs")
        return self


class FeatureCacheSection(_Section):
    """Features of a frozen image encoder, computed once (only without random shifts)."""

    mode: Literal["auto", "on", "off"] = "auto"
    limit_gb: float = Field(default=20.0, gt=0)
    """With ``auto``: the most that they may take on the disk."""
    folder: FilePath | None = None
    """Where they are kept; in the run's folder if not said."""


class CheckpointSection(_Section):
    """How often, and which are kept: the last ones, and the best by a metric of validation."""

    every: int = Field(default=1000, gt=0)
    keep_last: int = Field(default=2, gt=0)
    keep_best: int = Field(default=1, ge=0)
    metric: str = "val_loss"
    mode: Literal["min", "max"] = "min"


class ValidationSection(_Section):
    """Loss on episodes that are not trained on."""

    every: int = Field(default=500, gt=0)
    windows: int = Field(default=512, gt=0)
    """The most windows that it takes, evenly spread."""


class LogSection(_Section):
    """``every`` so many steps a line in ``metrics.jsonl``, and a point in TensorBoard."""

    every: int = Field(default=10, gt=0)
    tensorboard: bool = True


class TrainingConfig(_Section):
    """A whole run; ``output`` is the folder that it makes."""

    output: FilePath
    robot: str
    seed: int = Field(default=0, ge=0)
    model: ModelSection
    data: DataSection
    loss: LossSection = LossSection()
    optim: OptimSection
    feature_cache: FeatureCacheSection = FeatureCacheSection()
    checkpoints: CheckpointSection = CheckpointSection()
    validation: ValidationSection = ValidationSection()
    log: LogSection = LogSection()
