"""The packed folder: everything that a robot needs to run a model, and nothing that can run code.

* ``config.json``: upstream's configuration, plus a section ``packed``
* ``model.safetensors``: all weights, with the model's own policy head; above 2 GB in parts, with an index
* ``heads/NAME.safetensors``: further policy heads trained on the same backbone
* ``vlm/``: the backbone's ``config.json`` and tokenizer files
* ``robot.yaml``: the robot profile
* ``MODEL_CARD.md``: what it is, for people

`robovlms_ros.policy.packing` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from robovlms_ros.model.checkpoint import Tensors
from robovlms_ros.model.config import PackedSection, RoboVLMConfig
from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.errors import ConfigError, ModelError, WeightsError
from robovlms_ros.model.safetensors_files import find_safetensors, read_safetensors

# What of a folder is fetched where that is asked for: no pickles and no code.
PACKED_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "robot.yaml", "MODEL_CARD.md")

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

    def tensors(self, dtype: torch.dtype | None = None) -> Tensors:
        """All weights of the model with the chosen head, mapped from their files.

        In another ``dtype`` than they were packed in they are copies.
        """
        tensors = self._read(self.folder, "model", dtype)
        if self.head in self.packed.heads:
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEAD_PREFIXES)}
            tensors |= self._read(self.folder / "heads", self.head, dtype)
        return tensors

    @staticmethod
    def _read(folder: Path, name: str, dtype: torch.dtype | None) -> Tensors:
        path = find_safetensors(folder, name)
        if path is None:
            raise WeightsError(f"{folder} has no {name}.safetensors; pack the model again")
        return read_safetensors(path, dtype)


def open_packed(folder: str | Path, policy_head: str = "") -> PackedModel:
    """Open a packed folder; ``policy_head`` picks one of its heads, empty the model's own. Raises `ModelError`."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ModelError(f"model {folder} is not a folder; give a folder made by 'robovlms pack'")
    missing = [] if find_safetensors(folder, "model") else ["model.safetensors"]
    needed = ("config.json", "robot.yaml", "vlm/config.json")
    missing += [name for name in needed if not (folder / name).is_file()]
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
