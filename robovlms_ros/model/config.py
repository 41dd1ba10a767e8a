"""The configuration of a RoboVLM: upstream's JSON schema, with its key names.

Only keys that have an effect are fields; those that upstream writes but never reads are in
`robovlms_ros.model.dead_keys`. Use `robovlms_ros.model.config_reader.read_config` to load a file.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Field(gt=0)


class Section(BaseModel):
    """A part of the configuration: strictly typed, read-only, unknown keys dropped (the reader lists them)."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, protected_namespaces=())


class VlmConfig(Section):
    """Where the vision-language backbone comes from."""

    type: str = "AutoModel"
    name: str | None = None
    pretrained_model_name_or_path: str
    residual: bool = False


class TokenizerConfig(Section):
    """Where the tokenizer comes from; ``max_text_len`` only matters to the OXE training data."""

    type: str = "AutoTokenizer"
    pretrained_model_name_or_path: str
    tokenizer_type: str | None = None
    max_text_len: int = Field(default=256, gt=0)
    additional_special_tokens: list[str] | None = None
    use_local_files: bool = False


class TrainSetup(Section):
    """What is trained."""

    predict_action: bool = True
    train_vision: bool = False
    train_text_embedding: bool = False
    train_decoder_layers: int = Field(default=-1, ge=-1)
    train_full_decoder: bool = False
    train_resampler: bool = True
    freeze_backbone: bool = False
    freeze_resampler: bool = False
    lora_enable: bool = False
    lora_r: int = Field(default=64, gt=0)
    lora_alpha: int = Field(default=16, gt=0)
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    lora_bias: Literal["none", "all", "lora_only"] = "none"
    reinit: bool = False
    gradient_checkpointing: bool = False
    load_vl_param: bool = True


class ActHeadConfig(Section):
    """The policy head. Its window and chunk length are the top-level ``window_size`` and ``fwd_pred_next_n``.

    Ours, without a counterpart upstream: ``with_gripper`` (whether the last number of an action is one),
    ``parallel_decoding`` (all action tokens in one pass, for a model trained so) and ``predefined_actions`` (the
    table of a `PredefinedDecoder`).
    """

    type: str
    hidden_size: int = Field(default=1024, gt=0)
    action_dim: int = Field(default=7, gt=0)
    with_gripper: bool = True
    down_sample: Literal["none", "pooling"] = "none"
    latent: int = Field(default=1, gt=0)
    action_space: Literal["continuous", "down_sample", "discrete"] = "continuous"
    history_type: Literal["post", "pre", "video"] = "post"
    token_source: Literal["all", "text", "vision"] = "all"
    fill_zero: bool = False
    num_layers: int = Field(default=4, gt=0)
    policy_rnn_dropout_p: float = Field(default=0.0, ge=0, lt=1)
    n_bin: int = Field(default=256, gt=1)
    min_action: float = -1.0
    max_action: float = 1.0
    parallel_decoding: bool = False
    predefined_actions: list[list[float]] | None = None

    @property
    def pose_dim(self) -> int:
        """Numbers of an action that are not the gripper."""
        return self.action_dim - int(self.with_gripper)


class ActEncoderConfig(Section):
    """Turns the last ``window`` executed actions into tokens before the action token. Ours: upstream has none."""

    type: str = "ActionLinearEncoder"
    window: int = Field(gt=0)
    gripper_dim: int = Field(default=1, gt=0)


class StateEncoderConfig(Section):
    """Turns the robot's own state into a token before the action token. Ours: upstream's never worked.

    ``arm_dim`` numbers describe the arm; one more, the gripper's opening, follows them. A model is told whether
    that is more than half, and with ``opening`` the number itself: fingers that hold something stop anywhere.
    """

    arm_dim: int = Field(default=6, gt=0)
    opening: bool = False


class TrainerConfig(Section):
    """The keys of Lightning's trainer that a training run here honours."""

    precision: str | int = "32"
    max_epochs: int | None = None
    max_steps: int = -1
    accumulate_grad_batches: int = Field(default=1, gt=0)
    log_every_n_steps: int = Field(default=50, gt=0)
    val_check_interval: int | float | None = None
    check_val_every_n_epoch: int | None = None
    limit_val_batches: int | float | None = None


class PackedHead(Section):
    """A further policy head in a packed folder: the part of the configuration in which it differs."""

    act_head: ActHeadConfig
    act_encoder: ActEncoderConfig | None = None
    state_encoder: StateEncoderConfig | None = None
    window_size: int = Positive
    fwd_pred_next_n: int = Positive
    weights_sha256: str


class PackedSection(Section):
    """What `robovlms pack` adds to the configuration of the model that it packs."""

    format: Literal[1]
    dtype: Literal["float32", "bfloat16", "float16"]
    weights_sha256: str
    heads: dict[str, PackedHead] = {}


class RoboVLMConfig(Section):
    """A whole model: backbone, head, window, chunk and action normalisation."""

    robovlm_name: str
    model: str
    vlm: VlmConfig
    tokenizer: TokenizerConfig
    act_head: ActHeadConfig | None
    act_encoder: ActEncoderConfig | None = None
    state_encoder: StateEncoderConfig | None = None
    train_setup: TrainSetup = TrainSetup()
    trainer: TrainerConfig = TrainerConfig()

    window_size: int = Positive
    fwd_pred_next_n: int = Positive
    image_size: int = Field(default=224, gt=0)
    use_hand_rgb: bool = False
    use_vision_resampler: bool = False
    vision_encoder: dict[str, Any] | None = None

    norm_action: bool = False
    norm_min: float = -1.0
    norm_max: float = 1.0
    use_mu_law: bool = False
    mu_val: float = Field(default=255, gt=0)
    regular_action: bool = False
    x_mean: float = 0.0
    x_std: float = Field(default=1.0, gt=0)
    tcp_rel: bool = False
    action_scale: float = 1.0
    discrete_action_history: bool = False

    task_name: str | None = None
    seed: int = 123
    batch_size: int | list[int] = 1
    num_workers: int | list[int] = 0
    data_scale: int | float = 1
    train_weights: list[float] | None = None
    learning_rate: float = Field(default=2e-5, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    scheduler: Literal["constant", "half-cosine", "cosine"] = "constant"
    min_lr_scale: float = Field(default=0.0, ge=0)
    warmup_epochs: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=0, ge=0)
    gradient_clip_val: float | None = None
    arm_gripper_loss_ratio: float = 0.01
    cap_loss_ratio: float = 0.05
    fwd_loss_ratio: float = 0.0
    kl_div_ratio: float = 0.05
    vl_cotrain_ratio: float = 0.05
    use_clip_norm: bool = False
    clip_norm_ratio: float = 0.05
    output_root: str | None = None
    log_root: str | None = None
    cache_root: str | None = None
    train_dataset: dict[str, Any] | list[dict[str, Any]] | None = None
    val_dataset: dict[str, Any] | list[dict[str, Any]] | None = None

    untrained: bool = False
    packed: PackedSection | None = None
