"""A loaded model with its robot profile: the way in for robots, replay and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast, get_args

import torch

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.checkpoint import Tensors, read_checkpoint, weights_digest
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.errors import ConfigError, ModelError
from robovlms_ros.model.vlm_builder import build_model, find_vlm_folder
from robovlms_ros.model.weights import assign_weights
from robovlms_ros.policy.compute import within_memory
from robovlms_ros.policy.packed_model import DTYPES, PACKED_FILES, open_packed
from robovlms_ros.policy.preprocess import ImagePreprocessor, Mode
from robovlms_ros.policy.robot_profile import RobotProfile, load_profile
from robovlms_ros.policy.session import VLASession


class VLAPolicy:
    """Images and an instruction in, physical actions out. Make one with `load` or `from_upstream`."""

    def __init__(
        self,
        model: BaseRoboVLM,
        profile: RobotProfile,
        preprocess: Mode = "fast",
        weights_sha256: str = "",
        policy_heads: tuple[str, ...] = (),
        head: str = "",
    ) -> None:
        self.model = model
        self.profile = profile.for_model(model.config)
        self.cameras = ("static", "hand") if model.config.use_hand_rgb else ("static",)
        self._preprocess = ImagePreprocessor(
            model.config.image_size, model.image_mean, model.image_std, preprocess, model.device, model.dtype
        )
        self._card = _card(self, preprocess, weights_sha256, policy_heads, head)

    @classmethod
    def load(
        cls,
        packed_dir: str | Path,
        policy_head: str = "",
        device: str = "cpu",
        dtype: str = "float32",
        preprocess: str = "fast",
        allow_download: bool = False,
    ) -> VLAPolicy:
        """Load a folder made by ``robovlms pack``.

        Args:
            packed_dir: the folder; with ``allow_download`` also a model id of the Hugging Face Hub.
            policy_head: one of the folder's policy heads; empty for the model's own.
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``. A device that is not there is an error.
            dtype: ``float32``, ``bfloat16`` or ``float16``.
            preprocess: ``fast``, or ``exact`` for Pillow's resize.
            allow_download: whether ``packed_dir`` may be fetched from the Hub.

        Raises `ModelError`, saying what to do.
        """
        settings = _Settings(device, dtype, preprocess)
        folder = Path(packed_dir).expanduser()
        if allow_download and not folder.is_dir():
            folder = _download(str(packed_dir))
        packed = open_packed(folder, policy_head)
        model, _ = settings.build(packed.config, packed.vlm_folder, packed.tensors(settings.dtype), str(folder))
        profile = load_profile(folder / "robot.yaml")
        return cls(
            *(model, profile, settings.preprocess, packed.weights_sha256), packed.available_heads, packed.head
        )

    @classmethod
    def from_upstream(
        cls,
        config_json: str | Path,
        checkpoint_pt: str | Path,
        vlm_dir: str | Path | None = None,
        robot: str = "calvin",
        device: str = "cpu",
        dtype: str = "float32",
        preprocess: str = "fast",
    ) -> VLAPolicy:
        """Load what upstream published: a JSON configuration and a ``.pt`` (or ``.safetensors``) checkpoint.

        Args:
            config_json: upstream's configuration.
            checkpoint_pt: the checkpoint.
            vlm_dir: folder with the backbone's ``config.json`` and tokenizer files, or one that the paths in
                the configuration are relative to. Without it they are relative to the configuration's folder.
            robot: name of a robot profile, or the path of your own YAML file.
            device: see `load`.
            dtype: see `load`.
            preprocess: see `load`.

        Raises `ModelError`, saying what to do.
        """
        settings = _Settings(device, dtype, preprocess)
        profile = load_profile(robot)
        path = Path(config_json).expanduser()
        config = read_config(path)
        vlm_folder = find_vlm_folder(config, path.parent, None if vlm_dir is None else Path(vlm_dir))
        model, used = settings.build(config, vlm_folder, read_checkpoint(checkpoint_pt), str(checkpoint_pt))
        return cls(model, profile, settings.preprocess, weights_digest(used))

    @property
    def card(self) -> Mapping[str, object]:
        """The model card (JSON-serialisable): ``model_id``, parts, sizes, digest, device."""
        return self._card

    @property
    def special_tokens(self) -> list[str]:
        """Strings that an instruction must not hold: the model takes them for control tokens."""
        return self.model.special_tokens

    def session(self, execute_horizon: int = 1) -> VLASession:
        """A new episode; the model runs on every ``execute_horizon``-th step, at most the chunk's length."""
        length = self.model.act_head.chunk_length
        if not 1 <= execute_horizon <= length:
            raise ConfigError(f"execute_horizon is {execute_horizon}; the model predicts 1 to {length} steps")
        return VLASession(self.model, self._preprocess, self.profile, self.cameras, execute_horizon)


class _Settings:
    """Where and how a model runs, checked."""

    def __init__(self, device: str, dtype: str, preprocess: str) -> None:
        if dtype not in DTYPES:
            raise ConfigError(f"dtype is {dtype!r}; choose one of {', '.join(DTYPES)}")
        if preprocess not in get_args(Mode):
            raise ConfigError(f"preprocess is {preprocess!r}; choose one of {', '.join(get_args(Mode))}")
        self.device, self.dtype = _device(device), DTYPES[dtype]
        self.preprocess = cast(Mode, preprocess)

    def build(
        self, config: RoboVLMConfig, vlm_folder: Path, tensors: Tensors, source: str
    ) -> tuple[BaseRoboVLM, Tensors]:
        """The model on its device, and the tensors of ``source`` that went into it."""
        model = build_model(config, vlm_folder)
        used = assign_weights(model, tensors, self.dtype, source)
        return within_memory(lambda: model.to(self.device)).requires_grad_(False), used


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device is {name!r}; use cpu, cuda, cuda:N or mps") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {name!r}: torch finds no CUDA; install torch with CUDA or use 'cpu'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA device(s)")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("device 'mps': torch finds no Apple GPU; use device 'cpu'")
    return device


def _download(model_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(model_id, allow_patterns=list(PACKED_FILES)))
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise ModelError(f"model {model_id!r} is no folder here and cannot be downloaded: {error}") from error


def _card(
    policy: VLAPolicy, preprocess: str, weights_sha256: str, policy_heads: tuple[str, ...], head: str
) -> dict[str, object]:
    model, config = policy.model, policy.model.config
    act_head = model.head_config
    name = head or act_head.type
    counts = {part: sum(p.numel() for p in getattr(model, part).parameters()) for part in ("backbone", "act_head")}
    encoder, state = config.act_encoder, config.state_encoder
    return {
        "model_id": f"{config.robovlm_name}/{name}@{weights_sha256[:12]}",
        "backbone": config.robovlm_name,
        "policy_head": name,
        "available_heads": list(policy_heads or (name,)),
        "cameras": list(policy.cameras),
        "image_size": config.image_size,
        "window": config.window_size,
        "chunk": model.act_head.chunk_length,
        "action_dim": act_head.action_dim,
        "gripper": act_head.with_gripper,
        "history_type": act_head.history_type,
        "action_encoder": None if encoder is None else {"type": encoder.type, "window": encoder.window},
        "state_dim": None if state is None else state.arm_dim + 1,
        "robot": policy.profile.name,
        "instruction_max_tokens": model.text_template.max_tokens,
        "parameters": counts | {"total": sum(p.numel() for p in model.parameters())},
        "weights_sha256": weights_sha256,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "preprocess": preprocess,
        "untrained": config.untrained,
    }
