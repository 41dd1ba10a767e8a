"""The folder of a training run: all that is needed to go on with it, or to pack what it made.

* ``training.yaml``: the configuration, every default said
* ``config.json``, ``vlm/``, ``robot.yaml``: the model's configuration, its backbone's files, the robot profile
* ``frozen.safetensors``: weights that the run does not change, once
* ``checkpoints/step-N/``: ``trained.safetensors``, ``optimizer.safetensors``, ``state.json``
* ``metrics.jsonl``, ``tensorboard/``: what was measured
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.errors import ConfigError, WeightsError
from robovlms_ros.model.trainable import set_trainable
from robovlms_ros.model.vlm_builder import build_model
from robovlms_ros.policy.packing import copy_vlm_files
from robovlms_ros.policy.robot_profile import profile_path
from robovlms_ros.train.checkpoints import Checkpoint, CheckpointStore, Retention
from robovlms_ros.train.config import TrainingConfig
from robovlms_ros.train.config_file import read_training_config, write_training_config
from robovlms_ros.train.model_source import ModelSource
from robovlms_ros.train.network import TrainingNetwork
from robovlms_ros.train.state import FROZEN, TRAINED, frozen_weights, read_tensors, write_tensors

# What of a configuration decides what a step computes; the rest may change when a run goes on.
_SAME = ("robot", "seed", "model", "data", "loss", "optim")
_MAY_CHANGE = {"data": ("workers",), "optim": ("steps", "epochs")}
# The model as the network of training holds it.
_VLA = "vla."


def refuse_used(output: Path) -> None:
    """Raise `ConfigError` where something is there that a new run would mix with."""
    if RunFolder.is_run(output):
        raise ConfigError(
            f"{output} holds a training run already; go on with it with --resume, or choose another output"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} is there already and holds no training run; choose another output")


class RunFolder:
    """A run's files. `create` begins one, `open` finds one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = path / "metrics.jsonl"
        self.tensorboard = path / "tensorboard"
        self.features = path / "features"
        self.vlm = path / "vlm"
        self.robot = path / "robot.yaml"
        self.model_config = path / "config.json"

    @staticmethod
    def is_run(path: Path) -> bool:
        """Whether ``path`` holds a training run."""
        return (path / "training.yaml").is_file() and (path / "checkpoints").is_dir()

    @classmethod
    def create(cls, config: TrainingConfig, source: ModelSource, network: TrainingNetwork) -> RunFolder:
        """Write all but the checkpoints, aside first. Raises `ConfigError` where the folder is not empty."""
        refuse_used(config.output)
        run = cls(config.output.with_name(f".{config.output.name}.new"))
        shutil.rmtree(run.path, ignore_errors=True)
        run.path.mkdir(parents=True)
        copy_vlm_files(source.vlm_folder, run.vlm)
        shutil.copyfile(profile_path(config.robot), run.robot)
        raw = source.config.model_copy(update={"packed": None}).model_dump(mode="json", exclude_none=True)
        for section in ("vlm", "tokenizer"):
            raw[section]["pretrained_model_name_or_path"] = "vlm"
        run.model_config.write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
        write_tensors(frozen_weights(network), run.path, FROZEN)
        write_training_config(config, run.path / "training.yaml")
        (run.path / "checkpoints").mkdir()
        # Onto an empty folder too.
        run.path.rename(config.output)
        return cls(config.output)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run. Raises `ConfigError` where there is none."""
        path = path.expanduser()
        if not cls.is_run(path):
            raise ConfigError(f"{path} holds no training run (no training.yaml and checkpoints)")
        return cls(path)

    @property
    def config(self) -> TrainingConfig:
        """The configuration that the run was begun with."""
        return read_training_config(self.path / "training.yaml")

    def checkpoints(self, config: TrainingConfig | None = None) -> CheckpointStore:
        """Its checkpoints, kept by the rules of ``config``."""
        rules = (config or self.config).checkpoints
        retention = Retention(rules.keep_last, rules.keep_best, rules.metric, rules.mode)
        return CheckpointStore(self.path / "checkpoints", retention)

    def check_same(self, config: TrainingConfig) -> None:
        """Raise `ConfigError` naming the keys in which ``config`` would make another run of this one."""
        begun, now = self.config.model_dump(mode="json"), config.model_dump(mode="json")
        different = [
            f"{section}.{key}" if isinstance(begun[section], dict) else section
            for section in _SAME
            for key in (begun[section] if isinstance(begun[section], dict) else ("",))
            if key not in _MAY_CHANGE.get(section, ())
            and (begun[section][key] != now[section][key] if key else begun[section] != now[section])
        ]
        if different:
            raise ConfigError(
                f"{self.path} was begun with other values of {', '.join(different)}; take its own training.yaml "
                "to go on, or another output to begin anew"
            )

    def read_model_config(self) -> RoboVLMConfig:
        """The model's configuration."""
        return read_config(self.model_config)

    def load_model(self, checkpoint: Checkpoint) -> BaseRoboVLM:
        """The model of a checkpoint on the CPU, with its adapters, frozen as it was. Raises `WeightsError`."""
        model = build_model(self.read_model_config(), self.vlm)
        set_trainable(model)
        tensors = read_tensors(self.path, FROZEN) | read_tensors(checkpoint.folder, TRAINED)
        own = {name.removeprefix(_VLA): tensor for name, tensor in tensors.items() if name.startswith(_VLA)}
        _, unexpected = model.load_state_dict(own, strict=False, assign=True)
        model.backbone.tie_weights()
        missing = [name for name, weight in model.named_parameters() if weight.is_meta]
        if missing or unexpected:
            raise WeightsError(
                f"{checkpoint.folder} does not fit {self.model_config}: missing {missing[:3]}, left over "
                f"{unexpected[:3]}; both must come from one run"
            )
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    # Away from the checkpoint's mapped file.
                    weight.data = weight.data.clone()
        return model
