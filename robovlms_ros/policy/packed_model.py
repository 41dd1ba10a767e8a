"""The packed folder: everything that a robot needs to run a model, and nothing that can run code.

* ``config.json``: upstream's configuration, plus a section ``packed``
* ``model.safetensors``: all weights, with the model's own policy head
* ``heads/NAME.safetensors``: further policy heads trained on the same backbone
* ``vlm/``: the backbone's ``config.json`` and tokenizer files
* ``robot.yaml``: the robot profile
* ``MODEL_CARD.md``: what it is, for people
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from robovlms_ros.model.checkpoint import Tensors, read_checkpoint, weights_digest
from robovlms_ros.model.config import PackedHead, PackedSection, RoboVLMConfig
from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.errors import ConfigError, ModelError, WeightsError
from robovlms_ros.model.vlm_builder import build_model, find_vlm_folder
from robovlms_ros.model.weights import assign_weights
from robovlms_ros.policy.robot_profile import load_profile, profile_path

# What belongs to a policy head; the rest of the weights is shared by all heads of a folder.
HEAD_PREFIXES = (
    "act_head.",
    "act_encoder.",
    "action_token",
    "embed_arm_state.",
    "embed_gripper_state.",
    "embed_state.",
)
DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_VLM_FILES = (".json", ".model", ".txt", ".jinja")


@dataclass(frozen=True)
class PackedModel:
    """A packed folder, opened: its configuration for one head and where the parts lie."""

    folder: Path
    config: RoboVLMConfig
    packed: PackedSection
    head: str
    available_heads: tuple[str, ...]

    @property
    def vlm_folder(self) -> Path:
        """The folder of the backbone's configuration and tokenizer."""
        return self.folder / "vlm"

    @property
    def weights_sha256(self) -> str:
        """Digest of the weights in use, as recorded when they were packed."""
        further = self.packed.heads.get(self.head)
        return further.weights_sha256 if further else self.packed.weights_sha256

    def tensors(self) -> Tensors:
        """All weights of the model with the chosen head, mapped from their files."""
        tensors = read_checkpoint(self.folder / "model.safetensors")
        if self.head in self.packed.heads:
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEAD_PREFIXES)}
            tensors |= read_checkpoint(self.folder / "heads" / f"{self.head}.safetensors")
        return tensors


def open_packed(folder: str | Path, policy_head: str = "") -> PackedModel:
    """Open a packed folder; ``policy_head`` picks one of its heads, empty the model's own. Raises `ModelError`."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ModelError(f"model {folder} is not a folder; give a folder made by 'robovlms pack'")
    needed = ("config.json", "model.safetensors", "robot.yaml", "vlm/config.json")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"model {folder} has no {', '.join(missing)}; give a folder made by 'robovlms pack'")
    config = read_config(folder / "config.json")
    if config.packed is None or config.act_head is None:
        raise ConfigError(f"{folder / 'config.json'} has no section 'packed'; pack the model with 'robovlms pack'")
    heads = config.packed.heads
    own = config.act_head.type
    if policy_head and policy_head not in heads and policy_head != own:
        raise ConfigError(
            f"model {folder} has no policy head {policy_head!r}; it has {', '.join([own, *sorted(heads)])}"
        )
    if policy_head in heads:
        further = heads[policy_head]
        differing = ("act_head", "act_encoder", "state_encoder", "window_size", "fwd_pred_next_n")
        config = config.model_copy(update={key: getattr(further, key) for key in differing})
    packed = config.packed
    assert packed is not None
    return PackedModel(folder, config, packed, policy_head or own, (own, *sorted(heads)))


@dataclass(frozen=True)
class Source:
    """An upstream model: its JSON configuration and its checkpoint."""

    config: Path
    checkpoint: Path


def pack(
    source: Source,
    out: str | Path,
    vlm_dir: Path | None = None,
    robot: str = "calvin",
    dtype: str = "float32",
    heads: Mapping[str, Source] | None = None,
) -> Path:
    """Write a packed folder from upstream's files; returns it.

    Everything is checked as on loading before a single file appears under ``out``. Raises `ModelError`.
    """
    out = Path(out).expanduser()
    if out.exists():
        raise ModelError(f"{out} exists already; remove it or choose another folder")
    if dtype not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}; choose one of {', '.join(DTYPES)}")
    load_profile(robot)
    config = read_config(source.config)
    vlm_folder = find_vlm_folder(config, source.config.parent, vlm_dir)
    tensors = _checked_tensors(config, source, vlm_folder, dtype)
    extra = {
        name: _further_head(name, head, config, vlm_folder, tensors, dtype) for name, head in (heads or {}).items()
    }
    section = PackedSection(
        format=1,
        dtype=dtype,  # type: ignore[arg-type]  # checked above
        weights_sha256=weights_digest(tensors),
        heads={name: described for name, (described, _) in extra.items()},
    )
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "vlm").mkdir(parents=True)
    _save(tensors, partial / "model.safetensors")
    for name, (_, head_tensors) in extra.items():
        _save(head_tensors, partial / "heads" / f"{name}.safetensors")
    _copy_vlm_files(vlm_folder, partial / "vlm")
    shutil.copyfile(profile_path(robot), partial / "robot.yaml")
    packed_config = _packed_config(config, section)
    (partial / "config.json").write_text(json.dumps(packed_config, indent=2) + "\n", encoding="utf-8")
    (partial / "MODEL_CARD.md").write_text(_model_card(config, section, robot), encoding="utf-8")
    partial.rename(out)
    return out


def _checked_tensors(config: RoboVLMConfig, source: Source, vlm_folder: Path, dtype: str) -> Tensors:
    model = build_model(config, vlm_folder)
    used = assign_weights(model, read_checkpoint(source.checkpoint), DTYPES[dtype], str(source.checkpoint))
    # Tensors of a mapped file may share storage, which safetensors refuses.
    return {name: tensor.to(DTYPES[dtype]).contiguous() for name, tensor in used.items()}


def _further_head(
    name: str, source: Source, base: RoboVLMConfig, vlm_folder: Path, base_tensors: Tensors, dtype: str
) -> tuple[PackedHead, Tensors]:
    config = read_config(source.config)
    if base.act_head is None or name == base.act_head.type or not name.isidentifier():
        raise ConfigError(f"policy head name {name!r} is taken or no identifier; choose another name")
    for key in ("robovlm_name", "image_size", "use_hand_rgb", "norm_action", "norm_min", "norm_max"):
        if getattr(config, key) != getattr(base, key):
            raise ConfigError(f"policy head {name!r}: {key} differs from the model's; pack it by itself")
    tensors = _checked_tensors(config, source, vlm_folder, dtype)
    shared = {key for key in base_tensors if not key.startswith(HEAD_PREFIXES)}
    if any(not torch.equal(tensors[key], base_tensors[key]) for key in shared):
        raise WeightsError(
            f"policy head {name!r}: {source.checkpoint} was trained on other backbone weights; pack it as a model "
            "of its own"
        )
    described = PackedHead(
        act_head=config.act_head,  # type: ignore[arg-type]  # building the model has checked it
        act_encoder=config.act_encoder,
        state_encoder=config.state_encoder,
        window_size=config.window_size,
        fwd_pred_next_n=config.fwd_pred_next_n,
        weights_sha256=weights_digest(tensors),
    )
    return described, {key: tensor for key, tensor in tensors.items() if key.startswith(HEAD_PREFIXES)}


def _packed_config(config: RoboVLMConfig, section: PackedSection) -> dict[str, object]:
    content = config.model_copy(update={"packed": section}).model_dump(mode="json", exclude_none=True)
    content["vlm"]["pretrained_model_name_or_path"] = "vlm"
    content["tokenizer"]["pretrained_model_name_or_path"] = "vlm"
    return content


def _save(tensors: Tensors, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors leaves it readable by its owner alone


def _copy_vlm_files(source: Path, target: Path) -> None:
    for path in sorted(source.iterdir()):
        if path.suffix in _VLM_FILES and not path.name.endswith(".index.json"):
            shutil.copyfile(path, target / path.name)


def _model_card(config: RoboVLMConfig, section: PackedSection, robot: str) -> str:
    head = config.act_head
    assert head is not None
    untrained = "\n**The weights are untrained (random): its actions mean nothing.**\n" if config.untrained else ""
    return f"""# {config.robovlm_name} with {head.type}
{untrained}
A RoboVLMs model, packed by robovlms_ros. `robovlms inspect` shows all of it.

- window {config.window_size}, chunk of {config.fwd_pred_next_n} actions, history `{head.history_type}`
- cameras: {"static and hand" if config.use_hand_rgb else "static"}, {config.image_size} pixels
- robot profile: `{robot}`
- further policy heads: {", ".join(section.heads) or "none"}
- weights: {section.dtype}, SHA-256 `{section.weights_sha256}`
"""
