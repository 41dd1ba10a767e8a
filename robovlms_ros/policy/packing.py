"""Writes the packed folder of a model; see `robovlms_ros.policy.packed_model` for what is in it.

The checkpoint is mapped and passes through tensor by tensor: checked, converted, hashed, written. A folder
appears under its name when it is complete, or not at all.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from robovlms_ros.model.checkpoint import Tensors, WeightsDigest, read_checkpoint, refuse_non_finite
from robovlms_ros.model.config import ActHeadConfig, PackedHead, PackedSection, RoboVLMConfig
from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.errors import ConfigError, ModelError, WeightsError
from robovlms_ros.model.head_config import checked_head
from robovlms_ros.model.safetensors_files import SIZE_LIMIT, cast, write_safetensors
from robovlms_ros.model.vlm_builder import build_model, find_vlm_folder
from robovlms_ros.model.weights import fit_weights
from robovlms_ros.policy.packed_model import DTYPES, HEAD_PREFIXES
from robovlms_ros.policy.robot_profile import load_profile, profile_path

_VLM_FILES = (".json", ".model", ".txt", ".jinja")
# What a further head must have in common with the model that it is packed with.
_SHARED_KEYS = (
    *("robovlm_name", "model", "image_size", "use_hand_rgb", "use_vision_resampler", "vision_encoder"),
    *("norm_action", "norm_min", "norm_max", "use_mu_law", "mu_val", "regular_action", "x_mean", "x_std"),
    *("tcp_rel", "action_scale"),
)
Progress = Callable[[int, int], None]
"""Called with the bytes that are done and those that there are."""


@dataclass(frozen=True)
class Source:
    """An upstream model: its JSON configuration and its checkpoint."""

    config: Path
    checkpoint: Path


@dataclass(frozen=True)
class _Model:
    """A source whose tensors are all there, mapped, and of the right shapes."""

    source: Source
    config: RoboVLMConfig
    act_head: ActHeadConfig
    tensors: Tensors


def pack(
    source: Source,
    out: str | Path,
    vlm_dir: Path | None = None,
    robot: str = "calvin",
    dtype: str = "float32",
    heads: Mapping[str, Source] | None = None,
    *,
    force: bool = False,
    progress: Progress = lambda done, total: None,
    size_limit: int = SIZE_LIMIT,
) -> Path:
    """Write a packed folder from upstream's files; returns it.

    Args:
        source: the model.
        out: the folder to make.
        vlm_dir: where the backbone's ``config.json`` and tokenizer are, see `find_vlm_folder`.
        robot: name or path of the robot profile.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        heads: further policy heads on the same backbone, by name.
        force: replace a packed model that is there already.
        progress: told after every tensor.
        size_limit: bytes from which on the weights are split into several files.

    Raises `ModelError`; nothing is then left behind, and a model to be replaced is still there.
    """
    out = Path(out).expanduser()
    _refuse_existing(out, force)
    if dtype not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}; choose one of {', '.join(DTYPES)}")
    profile = load_profile(robot)
    config = read_config(source.config)
    vlm_folder = find_vlm_folder(config, source.config.parent, vlm_dir)
    model = _fitted(source, config, vlm_folder)
    profile.for_model(config)
    further = {name: _further_head(name, head, model, vlm_folder) for name, head in (heads or {}).items()}
    with _written_aside(out) as folder:
        writer = _Writer(DTYPES[dtype], size_limit, progress, [model, *further.values()])
        digest = writer.write(model.tensors, model, folder, "model")
        described = {}
        for name, head in further.items():
            (folder / "heads").mkdir(exist_ok=True)
            own = {key for key in head.tensors if key.startswith(HEAD_PREFIXES)}
            described[name] = _described(head, writer.write(own, head, folder / "heads", name))
        # A literal for pydantic, checked above.
        section = PackedSection.model_validate(
            {"format": 1, "dtype": dtype, "weights_sha256": digest, "heads": described}
        )
        copy_vlm_files(vlm_folder, folder / "vlm")
        shutil.copyfile(profile_path(robot), folder / "robot.yaml")
        packed_config = _packed_config(config, section)
        (folder / "config.json").write_text(json.dumps(packed_config, indent=2) + "\n", encoding="utf-8")
        (folder / "MODEL_CARD.md").write_text(_model_card(model, section, profile.name), encoding="utf-8")
    return out


def _refuse_existing(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not force:
        raise ModelError(f"{out} exists already; choose another folder, or replace the model in it with --force")
    if not (out / "robot.yaml").is_file() or not (out / "config.json").is_file():
        raise ModelError(f"{out} exists already and is no packed model; it is not replaced, choose another folder")


@contextmanager
def _written_aside(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place at the end, unless something went wrong."""
    scratch: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        folder = scratch / "new"
        folder.mkdir()
        yield folder
        if out.exists():
            out.rename(scratch / "old")
        folder.rename(out)
    except OSError as error:
        raise ModelError(f"{out} cannot be written: {error}; free some space or choose another folder") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


class _Writer:
    """Writes tensors in one type, and reports the digest of the model that they belong to."""

    def __init__(self, dtype: torch.dtype, size_limit: int, progress: Progress, models: list[_Model]) -> None:
        self._dtype, self._size_limit, self._progress = dtype, size_limit, progress
        self._total = sum(self._size(tensor) for model in models for tensor in model.tensors.values())
        self._done = 0

    def write(self, names: set[str] | Tensors, model: _Model, folder: Path, file: str) -> str:
        """Write the tensors of ``model`` called ``names``; returns the digest of all of the model's."""
        digest = WeightsDigest()
        size = sum(self._size(model.tensors[name]) for name in names)
        chosen = (item for item in self._converted(model, digest) if item[0] in names)
        write_safetensors(chosen, size, folder, file, self._size_limit)
        return digest.hexdigest()

    def _converted(self, model: _Model, digest: WeightsDigest) -> Iterator[tuple[str, Tensor]]:
        for name in sorted(model.tensors):
            tensor = cast(model.tensors[name], self._dtype)
            refuse_non_finite({name: tensor}, str(model.source.checkpoint))
            digest.update(name, tensor)
            yield name, tensor
            self._done += self._size(tensor)
            self._progress(self._done, self._total)

    def _size(self, tensor: Tensor) -> int:
        return tensor.numel() * (self._dtype.itemsize if tensor.is_floating_point() else tensor.element_size())


def _fitted(source: Source, config: RoboVLMConfig, vlm_folder: Path) -> _Model:
    model = build_model(config, vlm_folder)
    tensors = fit_weights(model, read_checkpoint(source.checkpoint), str(source.checkpoint))
    return _Model(source, config, checked_head(config), tensors)


def _further_head(name: str, source: Source, base: _Model, vlm_folder: Path) -> _Model:
    config = read_config(source.config)
    if name == base.act_head.type or not name.isidentifier():
        raise ConfigError(f"policy head name {name!r} is taken or no identifier; choose another name")
    for key in _SHARED_KEYS:
        if getattr(config, key) != getattr(base.config, key):
            raise ConfigError(f"policy head {name!r}: {key} differs from the model's; pack it by itself")
    head = _fitted(source, config, vlm_folder)
    shared = {key for key in base.tensors if not key.startswith(HEAD_PREFIXES)}
    if any(not torch.equal(head.tensors[key], base.tensors[key]) for key in shared):
        raise WeightsError(
            f"policy head {name!r}: {source.checkpoint} was trained on other backbone weights; pack it as a model "
            "of its own"
        )
    return head


def _described(head: _Model, digest: str) -> PackedHead:
    return PackedHead(
        act_head=head.act_head,
        act_encoder=head.config.act_encoder,
        state_encoder=head.config.state_encoder,
        window_size=head.config.window_size,
        fwd_pred_next_n=head.config.fwd_pred_next_n,
        weights_sha256=digest,
    )


def _packed_config(config: RoboVLMConfig, section: PackedSection) -> dict[str, object]:
    content = config.model_copy(update={"packed": section}).model_dump(mode="json", exclude_none=True)
    content["vlm"]["pretrained_model_name_or_path"] = "vlm"
    content["tokenizer"]["pretrained_model_name_or_path"] = "vlm"
    return content


def copy_vlm_files(source: Path, target: Path) -> None:
    """Make ``target`` with the backbone's configuration and tokenizer files of ``source``, without weights."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.suffix in _VLM_FILES and not path.name.endswith(".index.json"):
            shutil.copyfile(path, target / path.name)


def _model_card(model: _Model, section: PackedSection, robot: str) -> str:
    config, head = model.config, model.act_head
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
